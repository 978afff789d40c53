/**
 * Proof files: an inclusion proof (`.tlog-proof`) and a consistency proof, each with the checkpoint it leads to.
 *
 * Parsed strictly, so that a file that is accepted has one spelling; nothing here verifies anything.
 * Source: c2sp.org/tlog-proof@v1, section "Format"; c2sp.org/tlog-witness, "add-checkpoint".
 */

import { bytesOf, decodeBase64, decodeUtf8, encodeBase64, parseDecimal } from "./bytes.js";
import { parseCheckpoint } from "./checkpoint.js";
import { FormatError, shown } from "./errors.js";
import { HASH_SIZE } from "./hash.js";
import { MAX_NOTE_SIZE } from "./note.js";

export const PROOF_HEADER = "c2sp.org/tlog-proof@v1";

/** Bytes of a proof file: the largest note, 63 hashes, and an entry in base64. */
export const MAX_PROOF_SIZE = MAX_NOTE_SIZE + (1 << 17);

const MAX_HASHES = 63;
const MAX_EXTRA_SIZE = 65535;

/**
 * @typedef {object} Proof unverified
 * @property {number} leafIndex zero-based
 * @property {Uint8Array[]} hashes from the leaf's sibling to the root's child
 * @property {import("./checkpoint.js").Checkpoint} checkpoint
 * @property {Uint8Array | null} extra the entry's bytes in files of tlog; null where the file has none
 *
 * @typedef {object} ConsistencyProof unverified
 * @property {number} oldSize entries of the older tree
 * @property {Uint8Array[]} hashes
 * @property {import("./checkpoint.js").Checkpoint} checkpoint of the newer tree
 */

/**
 * The proof that a `.tlog-proof` file holds. Nothing is verified.
 * @param {string | Uint8Array} input
 * @returns {Proof} Throws: FormatError.
 */
export function parseProof(input) {
  const { lines, checkpoint } = parts(input, "proof");
  if (lines.shift() !== PROOF_HEADER) throw new FormatError("proof", `the first line is not ${PROOF_HEADER}`);
  let extra = null;
  if (lines[0]?.startsWith("extra ")) {
    extra = decodeBase64(lines.shift().slice("extra ".length), "proof: extra line");
    if (extra.length > MAX_EXTRA_SIZE) throw new FormatError("proof: extra line", `it has ${extra.length} bytes`);
  }
  const leafIndex = numberedLine(lines.shift() ?? "", "index", "proof");
  return { leafIndex, hashes: hashLines(lines, "proof"), checkpoint: parseCheckpoint(checkpoint), extra };
}

/**
 * The proof that an `add-checkpoint` request's body holds. Nothing is verified.
 * @param {string | Uint8Array} input
 * @returns {ConsistencyProof} Throws: FormatError.
 */
export function parseConsistencyProof(input) {
  const { lines, checkpoint } = parts(input, "consistency proof");
  const oldSize = numberedLine(lines.shift(), "old", "consistency proof");
  return { oldSize, hashes: hashLines(lines, "consistency proof"), checkpoint: parseCheckpoint(checkpoint) };
}

/**
 * The text of a `.tlog-proof` file.
 * @param {{leafIndex: number, hashes: Uint8Array[], checkpoint: {raw: string}, extra: Uint8Array | null}} proof
 */
export function formatProof({ leafIndex, hashes, checkpoint, extra }) {
  const head = extra === null ? [PROOF_HEADER] : [PROOF_HEADER, `extra ${encodeBase64(extra)}`];
  return [...head, `index ${leafIndex}`, ...hashes.map(encodeBase64), "", checkpoint.raw].join("\n");
}

function parts(input, what) {
  const text = decodeUtf8(bytesOf(input, what, MAX_PROOF_SIZE), what);
  const blank = text.indexOf("\n\n");
  if (blank < 0) throw new FormatError(what, "it has no blank line before the checkpoint");
  return { lines: text.slice(0, blank).split("\n", MAX_HASHES + 5), checkpoint: text.slice(blank + 2) };
}

function numberedLine(line, word, what) {
  if (!line.startsWith(`${word} `)) {
    throw new FormatError(what, `a line '${word} <number>' is missing where ${shown(line, 40)} stands`);
  }
  return parseDecimal(line.slice(word.length + 1), `${what}: ${word} line`);
}

function hashLines(lines, what) {
  if (lines.length > MAX_HASHES) throw new FormatError(what, `it has more than ${MAX_HASHES} hashes`);
  return lines.map((line) => decodeBase64(line, `${what}: hash line`, HASH_SIZE));
}

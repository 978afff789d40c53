/**
 * Checkpoints: what a log signs about its tree at one size.
 *
 * The note's text is the origin, the tree size, the root hash, and optional further lines. Parsing is syntax only: a
 * checkpoint says nothing until its signatures were verified. Source: c2sp.org/tlog-checkpoint.
 */

import { decodeBase64, decodeUtf8, equal, parseDecimal, utf8 } from "./bytes.js";
import { FormatError } from "./errors.js";
import { EMPTY_ROOT, HASH_SIZE } from "./hash.js";
import { parseNote } from "./note.js";

const MAX_ORIGIN_SIZE = 255;

/**
 * @typedef {object} Checkpoint unverified
 * @property {string} origin the log's identity
 * @property {number} treeSize entries
 * @property {Uint8Array} rootHash 32 bytes
 * @property {string[]} extensions further lines
 * @property {import("./note.js").Note} note the signed note
 * @property {string} raw the signed note's whole text
 */

/**
 * The parts of a signed checkpoint. Nothing is verified.
 * @param {string | Uint8Array} input
 * @returns {Checkpoint} Throws: FormatError.
 */
export function parseCheckpoint(input) {
  const note = parseNote(input);
  const lines = decodeUtf8(note.text, "checkpoint").split("\n").slice(0, -1);
  if (lines.length < 3) {
    throw new FormatError("checkpoint", "it needs an origin, a tree size and a root hash, each on a line");
  }
  const [origin, size, root, ...extensions] = lines;
  if (origin === "") throw new FormatError("checkpoint origin", "it is empty");
  if (utf8(origin).length > MAX_ORIGIN_SIZE) {
    throw new FormatError("checkpoint origin", `it has more than ${MAX_ORIGIN_SIZE} bytes`);
  }
  const treeSize = parseDecimal(size, "checkpoint tree size");
  const rootHash = decodeBase64(root, "checkpoint root hash", HASH_SIZE);
  if (treeSize === 0 && !equal(rootHash, EMPTY_ROOT)) {
    throw new FormatError("checkpoint root hash", "the root of the empty tree is SHA-256 of nothing");
  }
  if (extensions.includes("")) throw new FormatError("checkpoint extension line", "it is empty");
  return { origin, treeSize, rootHash, extensions, note, raw: note.raw };
}

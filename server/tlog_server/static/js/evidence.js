/**
 * Evidence of a split view: two checkpoints that one log signed, of which no tree can hold both.
 *
 * It needs nothing but the log's key to be judged, and nobody who shows it needs to be believed.
 * Source: docs/formats.md, "Evidence"; RFC 9162 section 2.1.4.2.
 */

import { bytesOf, decodeBase64, decodeUtf8, encodeBase64, equal, toHex } from "./bytes.js";
import { parseCheckpoint } from "./checkpoint.js";
import { FormatError, VerifyError } from "./errors.js";
import { HASH_SIZE } from "./hash.js";
import { ED25519_COSIGNATURE, MAX_NOTE_SIZE, openNote } from "./note.js";
import { planConsistency, rootFromConsistency } from "./tree.js";

export const EVIDENCE_HEADER = "tlog-evidence@v1";
const MAX_EVIDENCE_SIZE = 3 * MAX_NOTE_SIZE;
const MAX_HASHES = 64;
const AGAINST = "against ";

/**
 * @typedef {object} Evidence unverified
 * @property {import("./checkpoint.js").Checkpoint} against of the smaller tree, or of the first of two of one size
 * @property {import("./checkpoint.js").Checkpoint} shown
 * @property {Uint8Array[]} hashes none where the sizes are equal
 *
 * @typedef {object} SplitView proved
 * @property {Evidence} evidence
 * @property {Uint8Array} rootHash that the first entries, as many as `against` covers, have in the tree of `shown`
 */

/**
 * The claim that a file spells. Nothing is verified.
 * @param {string | Uint8Array} input
 * @returns {Evidence} Throws: FormatError for any other spelling.
 */
export function parseEvidence(input) {
  const text = decodeUtf8(bytesOf(input, "evidence", MAX_EVIDENCE_SIZE), "evidence");
  const blank = text.indexOf("\n\n");
  const lines = text.slice(0, Math.max(blank, 0)).split("\n", MAX_HASHES + 3);
  if (lines[0] !== EVIDENCE_HEADER || !lines[1]?.startsWith(AGAINST) || lines.length > MAX_HASHES + 2) {
    throw new FormatError("evidence", `it needs '${EVIDENCE_HEADER}', 'against <base64>', hashes, a blank line, a checkpoint`);
  }
  const against = parseCheckpoint(decodeBase64(lines[1].slice(AGAINST.length), "evidence: against line"));
  const hashes = lines.slice(2).map((line) => decodeBase64(line, "evidence: hash line", HASH_SIZE));
  const shown = parseCheckpoint(text.slice(blank + 2));
  if (against.treeSize > shown.treeSize) throw new FormatError("evidence", "the checkpoint of the smaller tree comes first");
  const head = [EVIDENCE_HEADER, AGAINST + encodeBase64(new TextEncoder().encode(against.raw)), ...hashes.map(encodeBase64)];
  if (`${head.join("\n")}\n\n${shown.raw}` !== text) throw new FormatError("evidence", "it is not in its canonical spelling");
  return { against, shown, hashes };
}

/**
 * Check that two statements which a log signed contradict each other.
 * @param {string | Uint8Array | Evidence} evidence
 * @param {import("./note.js").VerifierKey} key of the log, known from elsewhere
 * @returns {Promise<SplitView>} Throws: FormatError; VerifyError "wrong-origin", "signature", "unsigned", "unsupported";
 *   "proof" where there is no contradiction, or none is shown.
 */
export async function verifyEvidence(evidence, key) {
  const parsed = typeof evidence === "string" || evidence instanceof Uint8Array ? parseEvidence(evidence) : evidence;
  if (key.keyType === ED25519_COSIGNATURE) throw new FormatError("vkey", "it is a witness's key; the log's is needed");
  for (const checkpoint of [parsed.against, parsed.shown]) {
    if (checkpoint.origin !== key.name) {
      const details = { expected: key.name, found: checkpoint.origin };
      throw new VerifyError("wrong-origin", "A checkpoint is of another log than the key.", details);
    }
    await openNote(checkpoint.note, key);
  }
  const rootHash = await rootIn(parsed);
  if (equal(rootHash, parsed.against.rootHash)) {
    throw new VerifyError("proof", "There is no contradiction: the larger tree holds the smaller one.");
  }
  return { evidence: parsed, rootHash };
}

async function rootIn({ against, shown, hashes }) {
  const [size, newSize] = [against.treeSize, shown.treeSize];
  if (size === newSize) {
    if (hashes.length > 0) throw new VerifyError("proof", "Two trees of one size need no hashes.");
    return shown.rootHash;
  }
  if (size === 0) throw new VerifyError("proof", "The empty tree is in every tree: nothing contradicts it.");
  if (hashes.length === 0) throw new VerifyError("proof", "The hashes from one size to the other are missing.");
  // RFC 6962 leaves the first hash out where the smaller tree is a subtree: here it stands, as it is in question.
  const isSubtree = planConsistency(size, newSize)[0].start === size;
  const { oldRoot, newRoot } = await rootFromConsistency(size, newSize, hashes[0], isSubtree ? hashes.slice(1) : hashes);
  if (!equal(newRoot, shown.rootHash)) {
    const details = { expected: toHex(shown.rootHash), found: toHex(newRoot) };
    throw new VerifyError("proof", "The hashes do not lead to the larger tree's root.", details);
  }
  return oldRoot;
}

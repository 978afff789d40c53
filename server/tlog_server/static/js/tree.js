/**
 * Merkle tree proofs: which nodes they consist of, and which root they lead to.
 *
 * Verifying takes no plan from anybody: the path follows from the leaf index and the tree sizes. Numbers go to 2^53 - 1,
 * so arithmetic here divides and never shifts. Source: RFC 6962 sections 2.1.1 and 2.1.2; RFC 9162 sections 2.1.3 and
 * 2.1.4.
 */

import { requireInteger } from "./bytes.js";
import { FormatError, VerifyError } from "./errors.js";
import { HASH_SIZE, nodeHash } from "./hash.js";

export { decodeBundle, edgeTiles, parseTilePath, tileAt, tilePath } from "./tile.js";

/**
 * @typedef {object} Node the root of the perfect subtree over the leaves [index * 2^level, (index + 1) * 2^level)
 * @property {number} level 0 are leaves
 * @property {number} index
 *
 * @typedef {object} Span the leaves [start, end)
 * @property {number} start
 * @property {number} end
 */

/**
 * The perfect subtrees that make up a span that occurs in a tree, left to right, each as large as it can be.
 * @returns {Node[]} at most 53
 */
export function spanNodes({ start, end }) {
  const nodes = [];
  while (start < end) {
    const level = floorLog2(end - start);
    nodes.push({ level, index: start / 2 ** level });
    start += 2 ** level;
  }
  return nodes;
}

/** The hash of a subtree whose maximal perfect subtrees, left to right, have these hashes (at least one). */
export async function fold(hashes) {
  let result = hashes.at(-1);
  for (const left of hashes.slice(0, -1).reverse()) result = await nodeHash(left, result);
  return result;
}

/**
 * The spans whose hashes make up the inclusion proof of a leaf, from the leaf's sibling to the root's child.
 * @returns {(Span & {side: "left" | "right", level: number})[]} side: where the sibling stands. level: steps above the
 * leaf, 0 for the leaf's own sibling.
 */
export function planInclusion(leafIndex, treeSize) {
  requireInteger(treeSize, "tree size", 1);
  requireInteger(leafIndex, "leaf index", 0, treeSize - 1);
  const plan = [];
  let [start, end] = [0, treeSize];
  while (end - start > 1) {
    const middle = start + split(end - start);
    if (leafIndex < middle) {
      plan.unshift({ start: middle, end, side: "right" });
      end = middle;
    } else {
      plan.unshift({ start, end: middle, side: "left" });
      start = middle;
    }
  }
  return plan.map((span, level) => ({ ...span, level }));
}

/**
 * The spans whose hashes make up the consistency proof between two sizes; none where the old one is 0 or the new one.
 * @returns {Span[]}
 */
export function planConsistency(oldSize, newSize) {
  requireInteger(newSize, "new tree size");
  requireInteger(oldSize, "old tree size", 0, newSize);
  if (oldSize === 0 || oldSize === newSize) return [];
  const plan = [];
  let [start, end] = [0, newSize];
  while (oldSize !== end) {
    const middle = start + split(end - start);
    if (oldSize <= middle) {
      plan.unshift({ start: middle, end });
      end = middle;
    } else {
      plan.unshift({ start, end: middle });
      start = middle;
    }
  }
  // The old tree is not itself a node of the new one, so its last part must be given.
  return start > 0 ? [{ start, end }, ...plan] : plan;
}

/**
 * The root hash of the tree of `treeSize` leaves in which the proof puts `leafHash` at `leafIndex`.
 *
 * It proves nothing until it is compared with a signed root hash.
 * @param {Uint8Array} leafHash 32 bytes
 * @param {number} leafIndex zero-based
 * @param {number} treeSize at least 1
 * @param {Uint8Array[]} hashes the proof, exactly as many as index and size ask for
 * @returns {Promise<Uint8Array>} Throws: FormatError, VerifyError "proof". Source: RFC 9162 section 2.1.3.2.
 */
export async function rootFromInclusion(leafHash, leafIndex, treeSize, hashes) {
  const plan = planInclusion(leafIndex, treeSize);
  checkHashes(hashes, plan.length);
  checkHashes([leafHash], 1);
  let result = leafHash;
  for (const [level, { side }] of plan.entries()) {
    result = await (side === "left" ? nodeHash(hashes[level], result) : nodeHash(result, hashes[level]));
  }
  return result;
}

/**
 * The root hashes of the old and of the new tree that a consistency proof leads to, 1 <= oldSize < newSize.
 *
 * They prove nothing until they are compared with signed ones.
 * @param {number} oldSize
 * @param {number} newSize
 * @param {Uint8Array} oldRoot expected: where the old tree is a perfect subtree, the proof leaves its hash out
 * @param {Uint8Array[]} hashes exactly as many as the sizes ask for
 * @returns {Promise<{oldRoot: Uint8Array, newRoot: Uint8Array}>} Throws: FormatError, VerifyError "proof".
 * Source: RFC 9162 section 2.1.4.2.
 */
export async function rootFromConsistency(oldSize, newSize, oldRoot, hashes) {
  requireInteger(newSize, "new tree size", 2);
  requireInteger(oldSize, "old tree size", 1, newSize - 1);
  const plan = planConsistency(oldSize, newSize);
  checkHashes([oldRoot], 1);
  checkHashes(hashes, plan.length);
  // A proof begins with the last part of the old tree, unless that part is the whole old tree.
  const isWhole = plan[0].start === oldSize;
  let newHash = isWhole ? oldRoot : hashes[0];
  let oldHash = newHash;
  for (const [place, { start }] of plan.entries()) {
    if (place === 0 && !isWhole) continue;
    if (start < oldSize) {
      oldHash = await nodeHash(hashes[place], oldHash);
      newHash = await nodeHash(hashes[place], newHash);
    } else {
      newHash = await nodeHash(newHash, hashes[place]);
    }
  }
  return { oldRoot: oldHash, newRoot: newHash };
}

function checkHashes(hashes, count) {
  if (hashes.length !== count) {
    const details = { expected: `${count} hashes`, found: `${hashes.length} hashes` };
    throw new VerifyError("proof", "The proof has the wrong number of hashes.", details);
  }
  if (hashes.some((hash) => hash.length !== HASH_SIZE)) throw new FormatError("proof", "a hash is not 32 bytes");
}

/** The largest power of two smaller than `width` >= 2. */
function split(width) {
  return 2 ** floorLog2(width - 1);
}

/** The largest level with 2^level <= number, for 1 <= number < 2^53; Math.log2 alone rounds up near powers of two. */
function floorLog2(number) {
  let level = Math.floor(Math.log2(number));
  if (2 ** level > number) level -= 1;
  return level;
}

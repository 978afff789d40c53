/**
 * The steps that several verifications have in common. Each throws a VerifyError where something is not proved.
 */

import { encodeBase64, equal, toHex } from "./bytes.js";
import { parseCheckpoint } from "./checkpoint.js";
import { parseEntry } from "./entry.js";
import { VerifyError } from "./errors.js";
import { leafHash } from "./hash.js";
import { requireNotOlder } from "./memory.js";
import { keyLabel } from "./note.js";
import { authenticate, named } from "./policy.js";
import { formatProof } from "./tlogproof.js";
import { rootFromConsistency, rootFromInclusion } from "./tree.js";

/** Check that a log of the policy signed a checkpoint. */
export function checkSignature(steps, policy, checkpoint) {
  return steps.run("signature", "Check the log's signature", async () => {
    const signed = await authenticate(policy, checkpoint);
    return [`Ed25519, by ${keyLabel(signed.logKey)}`, signed];
  });
}

/** Check that a signed checkpoint extends the one that was remembered of the log. */
export function compareWithLastVisit(steps, policy, last, reader, checkpoint) {
  return steps.run("memory", "Compare with your last visit", async () => {
    const old = parseCheckpoint(last.text);
    try {
      await authenticate(policy, old);
    } catch (error) {
      const message = "The checkpoint that this browser remembers is not signed by the pinned key.";
      throw new VerifyError("memory", message, { cause: error });
    }
    await requireExtension(reader, old, checkpoint);
    return [grown(old, checkpoint), old];
  });
}

/**
 * Check that one signed tree is a prefix of the other, which the reader reads.
 * @returns {Promise<Uint8Array[]>} the consistency proof. Throws: VerifyError "rollback", "split-view" and "fork", with
 *   both signed notes as evidence; and what the reader throws.
 */
export async function requireExtension(reader, old, fresh) {
  requireNotOlder(old, fresh);
  if (old.treeSize === 0 || old.treeSize === fresh.treeSize) return [];
  const hashes = await reader.consistency(old.treeSize);
  const { oldRoot, newRoot } = await rootFromConsistency(old.treeSize, fresh.treeSize, old.rootHash, hashes);
  const isNewRoot = equal(newRoot, fresh.rootHash);
  if (isNewRoot && equal(oldRoot, old.rootHash)) return hashes;
  // The tiles are authenticated: what they make is what the log signed, so it contradicts what it had signed before.
  throw new VerifyError(
    "fork",
    `The log has changed or removed entries below ${old.treeSize} that it had signed. The two signed checkpoints ` +
      "prove it: keep them.",
    {
      expected: encodeBase64(isNewRoot ? old.rootHash : fresh.rootHash),
      found: encodeBase64(isNewRoot ? oldRoot : newRoot),
      evidence: { old: old.raw, new: fresh.raw },
    },
  );
}

/** That a log grew, in words. */
export function grown(old, fresh) {
  if (old.treeSize === fresh.treeSize) return `the same ${plural(old.treeSize, "entry", "entries")} as then`;
  return `the log only grew, from ${count(old.treeSize)} to ${count(fresh.treeSize)} entries`;
}

/** Refuse an index that a tree does not cover. */
export function requireCovered(index, treeSize) {
  if (treeSize === 0) throw new VerifyError("empty", "The log shows an empty tree, which proves nothing.");
  if (Number.isSafeInteger(index) && index >= 0 && index < treeSize) return;
  const covered = plural(treeSize, "entry", "entries");
  throw new VerifyError("not-covered", `The checkpoint covers ${covered}, and number ${index} is not among them.`);
}

/** Check that the proof leads from its entry to the signed root hash, and what the entry says about itself. */
export async function proveEntry(steps, { leafIndex, hashes, checkpoint, extra }) {
  const hash = await leafHash(extra);
  await steps.run("path", "Hash from the leaf up to the root", async () => {
    requireCovered(leafIndex, checkpoint.treeSize);
    const root = await rootFromInclusion(hash, leafIndex, checkpoint.treeSize, hashes);
    requireSame(root, checkpoint.rootHash, "proof", "The path from the entry does not lead to the signed root hash.");
    return [`over ${plural(hashes.length, "sibling")} to the signed root hash ${encodeBase64(root)}`, root];
  });
  const entry = await steps.run("content", "Read the entry", async () => {
    const found = await parseEntry(extra);
    const partition = /\/([^/]*)$/.exec(checkpoint.origin)?.[1];
    requireText(String(found.seq), String(leafIndex), "The entry says another number than its place in the log.");
    requireText(found.partition, partition, "The entry names another partition than the log's origin.");
    return [`number, partition and its own hash ${toHex(found.hash)} are right`, found];
  });
  return { entry, leafHash: hash };
}

/** Refuse a hash that is not the expected one. */
export function requireSame(found, expected, kind, message) {
  if (equal(found, expected)) return;
  throw new VerifyError(kind, message, { expected: encodeBase64(expected), found: encodeBase64(found) });
}

function requireText(found, expected, message) {
  if (found !== expected) throw new VerifyError("chain", message, { expected: expected ?? "a partition", found });
}

/** What `verifyEntry` and `verifyProof` return. */
export function verifiedEntry(steps, proof, signed, proved, path, limits) {
  const unchecked = [...signed.uncheckedLogs, ...signed.unchecked.map(named)].join(", ");
  return {
    ok: true,
    steps: steps.all,
    index: proof.leafIndex,
    ...proved,
    entryBytes: proof.extra,
    path,
    signed,
    checkpoint: signed.checkpoint,
    proof: formatProof(proof),
    notProved: [
      "that what the entry says is true; anything about other entries",
      ...limits,
      ...(unchecked === "" ? [] : [`the ML-DSA-44 signatures of ${unchecked}: not checked in browsers`]),
      ...(signed.met.length === 0 ? ["that others are shown the same log: no witness was asked for"] : []),
    ],
  };
}

/** Names of a policy, in words. */
export function names(list) {
  return list.map(named).join(", ");
}

/** A number and what it counts. */
export function plural(number, noun, many = `${noun}s`) {
  return `${count(number)} ${number === 1 ? noun : many}`;
}

function count(number) {
  return number.toLocaleString("en");
}

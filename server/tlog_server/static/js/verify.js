/**
 * Verification: what a page calls, with the keys that its user trusts.
 *
 * Trust moves forward step by step or an error is thrown; what is returned was proved. A key or a root hash that arrives
 * with the data is never believed. Source: c2sp.org/tlog-proof, "Verifying a tlog proof"; c2sp.org/tlog-tiles.
 */

import { encodeBase64, equal } from "./bytes.js";
import { parseCheckpoint } from "./checkpoint.js";
import { VerifyError } from "./errors.js";
import { leafHash, requireCryptography } from "./hash.js";
import { keyLabel } from "./note.js";
import { parseTrust, policyForLog, requireQuorum } from "./policy.js";
import {
  checkSignature,
  compareWithLastVisit,
  grown,
  names,
  plural,
  proveEntry,
  requireCovered,
  requireExtension,
  requireSame,
  verifiedEntry,
} from "./proving.js";
import { TileReader } from "./reader.js";
import { LogSource } from "./source.js";
import { Steps } from "./steps.js";
import { TILE_WIDTH, tileAt, tilePath } from "./tile.js";
import { parseProof } from "./tlogproof.js";
import { planInclusion } from "./tree.js";

export { FormatError, VerifyError } from "./errors.js";

/**
 * @typedef {import("./steps.js").Step} Step
 *
 * @typedef {object} Where the log, and how it is asked
 * @property {string} base the server's URL, such as `location.origin`
 * @property {string} partition
 * @property {string} vkey the key that the user pinned
 * @property {import("./memory.js").Memory | null} [memory] the checkpoint is compared with the one that it has, and then
 *   remembered; without it nothing is compared, and `notProved` says so
 * @property {typeof globalThis.fetch} [fetch]
 * @property {number} [timeoutMs] for each resource
 * @property {(step: Step, all: Step[]) => void} [onStep] told when a step begins and when it ends
 *
 * @typedef {object} VerifiedCheckpoint
 * @property {true} ok
 * @property {Step[]} steps what was done
 * @property {import("./checkpoint.js").Checkpoint} checkpoint
 * @property {import("./policy.js").SignedCheckpoint} signed the same, and who signed it
 * @property {import("./checkpoint.js").Checkpoint | null} remembered the one of the last visit, which it extends
 *
 * @typedef {object} VerifiedEntry
 * @property {true} ok
 * @property {Step[]} steps what was done
 * @property {number} index
 * @property {import("./entry.js").Entry} entry parsed from the bytes that were proved
 * @property {Uint8Array} entryBytes
 * @property {Uint8Array} leafHash
 * @property {import("./reader.js").PathStep[]} path each sibling on the way from the leaf to the root; its `tiles` is
 *   empty where the path came in a proof file
 * @property {import("./checkpoint.js").Checkpoint} checkpoint
 * @property {import("./policy.js").SignedCheckpoint} signed the same, and who signed it
 * @property {string} proof the text of the `.tlog-proof` file
 * @property {string[]} notProved what a reader might believe to be proved, and is not
 */

/**
 * Prove that a published checkpoint is the log's, and extends the one that this browser remembers.
 * @param {Where} where
 * @returns {Promise<VerifiedCheckpoint>} Throws: VerifyError; its `step` is one of key, checkpoint, signature, memory,
 *   remember.
 */
export async function verifyCheckpoint(where) {
  const { steps, signed, remembered } = await fetchAndCompare(where);
  await remember(steps, where.memory, signed.checkpoint);
  return { ok: true, steps: steps.all, checkpoint: signed.checkpoint, signed, remembered };
}

/**
 * Prove that an entry is in a log, from the log's static resources and a pinned key.
 * @param {Where & {index: number}} where index: of the entry, zero-based
 * @returns {Promise<VerifiedEntry>} Throws: VerifyError; its `step` is one of key, checkpoint, signature, memory, tiles,
 *   entry, path, content, remember.
 */
export async function verifyEntry(where) {
  const { index } = where;
  const { steps, source, signed, reader, remembered } = await fetchAndCompare(where);
  const { checkpoint } = signed;
  const { hashes, path } = await steps.run("tiles", "Authenticate the tiles up to the signed root hash", async () => {
    requireCovered(index, checkpoint.treeSize);
    const found = await reader.inclusion(index);
    const tiles = new Set(found.path.flatMap((step) => step.tiles)).size;
    const from = `${plural(found.path.length, "sibling")} from ${plural(tiles, "tile")}`;
    return [`${from}, each compared with its parent`, found];
  });
  const extra = await steps.run("entry", "Hash the entry's exact bytes", async () => {
    const bundle = tileAt("entries", Math.floor(index / TILE_WIDTH), checkpoint.treeSize);
    const bytes = (await source.bundle(bundle))[index % TILE_WIDTH].slice();
    const hash = await leafHash(bytes);
    const message = `The entry in ${tilePath(bundle)} is not the one under the checkpoint.`;
    requireSame(hash, await reader.leafHash(index), "entry", message);
    return [`${plural(bytes.length, "byte")}, leaf hash ${encodeBase64(hash)}`, bytes];
  });
  const proof = { leafIndex: index, hashes, checkpoint, extra };
  const proved = await proveEntry(steps, proof);
  await remember(steps, where.memory, checkpoint);
  const limit = "that the log has not been changed before: this browser remembers no earlier checkpoint of it";
  return verifiedEntry(steps, proof, signed, proved, path, remembered === null ? [limit] : []);
}

/**
 * Prove that an entry is in a log, from a `.tlog-proof` file alone.
 * @param {string | Uint8Array} file its content
 * @param {string | Uint8Array} trust a vkey, or a policy's text
 * @param {{entry?: Uint8Array, onStep?: (step: Step, all: Step[]) => void}} [options] entry: its line, with or without
 *   newline; needed where the file carries none
 * @returns {Promise<VerifiedEntry>} Throws: VerifyError; its `step` is one of browser, trust, proof, signature, quorum,
 *   path, content.
 */
export async function verifyProof(file, trust, { entry: line, onStep } = {}) {
  const steps = new Steps(onStep);
  await steps.run("browser", "Test this browser's cryptography", async () => {
    await requireCryptography();
    return ["SHA-256 and Ed25519 answer known questions right", null];
  });
  const policy = await steps.run("trust", "Read whom you trust", async () => {
    const found = await parseTrust(trust);
    const logs = found.logs.map(keyLabel).join(", ") || "no log";
    const { length } = found.witnesses;
    return [length === 0 ? logs : `${logs}, and ${plural(length, "witness", "witnesses")}`, found];
  });
  const proof = await steps.run("proof", "Read the proof", () => {
    const found = parseProof(file);
    const { leafIndex, checkpoint } = found;
    const place = `entry ${leafIndex} of ${plural(checkpoint.treeSize, "entry", "entries")} in ${checkpoint.origin}`;
    return [place, { ...found, extra: leafData(found.extra, line) }];
  });
  const signed = await checkSignature(steps, policy, proof.checkpoint);
  await steps.run("quorum", "Ask for the witnesses", () => {
    requireQuorum(policy, signed);
    return [signed.met.length > 0 ? `cosigned by ${names(signed.met)}` : "none was asked for", null];
  });
  const proved = await proveEntry(steps, proof);
  const plan = planInclusion(proof.leafIndex, proof.checkpoint.treeSize);
  const path = plan.map((span, place) => ({ ...span, hash: proof.hashes[place], tiles: [] }));
  const limit = "that this is the log's latest checkpoint: it is the one in the file";
  return verifiedEntry(steps, proof, signed, proved, path, [limit]);
}

/**
 * Prove that a log only grew between two checkpoints, from its tiles.
 * @param {Omit<Where, "memory"> & {oldCheckpoint: string | Uint8Array, newCheckpoint?: string | Uint8Array | null}} where
 *   oldCheckpoint: kept from before. newCheckpoint: the published one unless given
 * @returns {Promise<{ok: true, steps: Step[], old: import("./checkpoint.js").Checkpoint,
 *   new: import("./checkpoint.js").Checkpoint, hashes: Uint8Array[]}>} hashes: the consistency proof. Throws: VerifyError
 *   whose `step` is one of key, old, checkpoint, signature, consistency; "rollback", "split-view" and "fork" carry both
 *   signed notes as evidence.
 */
export async function verifyConsistency({ oldCheckpoint, newCheckpoint = null, ...where }) {
  const { steps, source, policy } = await begin({ ...where, memory: null });
  const old = await steps.run("old", "Read the older checkpoint, and check its signature", async () => {
    const checkpoint = parseCheckpoint(oldCheckpoint);
    await checkSignature(new Steps(), policy, checkpoint);
    return [plural(checkpoint.treeSize, "entry", "entries"), checkpoint];
  });
  const { signed, reader } = await fetchSigned(steps, source, policy, newCheckpoint);
  const fresh = signed.checkpoint;
  const hashes = await steps.run("consistency", "Find the older tree in the newer tree's tiles", async () => {
    const proof = await requireExtension(reader, old, fresh);
    return [grown(old, fresh), proof];
  });
  return { ok: true, steps: steps.all, old, new: fresh, hashes };
}

async function fetchAndCompare(where) {
  const { steps, source, policy } = await begin(where);
  const { signed, reader } = await fetchSigned(steps, source, policy, null);
  const last = where.memory?.look(signed.checkpoint.origin)?.history.at(-1);
  const remembered = last ? await compareWithLastVisit(steps, policy, last, reader, signed.checkpoint) : null;
  return { steps, source, signed, reader, remembered };
}

async function begin({ base, partition, vkey, memory = null, fetch, timeoutMs, onStep }) {
  const steps = new Steps(onStep);
  return steps.run("key", "Take the key that you trust", async () => {
    await requireCryptography();
    const policy = await policyForLog(vkey);
    const [key] = policy.logs;
    const pinned = memory === null ? "" : `, pinned in this browser on ${memory.require(key).pinnedAt.slice(0, 10)}`;
    return [keyLabel(key) + pinned, { steps, policy, source: new LogSource({ base, partition, fetch, timeoutMs }) }];
  });
}

async function fetchSigned(steps, source, policy, given) {
  const title = given === null ? "Fetch the checkpoint" : "Read the newer checkpoint";
  const checkpoint = await steps.run("checkpoint", title, async () => {
    const found = parseCheckpoint(given ?? (await source.checkpoint()));
    return [`${found.origin}, ${plural(found.treeSize, "entry", "entries")}`, found];
  });
  const signed = await checkSignature(steps, policy, checkpoint);
  return { signed, reader: new TileReader((tile) => source.tile(tile), checkpoint) };
}

async function remember(steps, memory, checkpoint) {
  if (!memory) return;
  await steps.run("remember", "Remember this checkpoint", () => {
    memory.remember(checkpoint.raw);
    return [`${plural(checkpoint.treeSize, "entry", "entries")}, for your next visit`, null];
  });
}

function leafData(carried, line) {
  const given = line?.at(-1) === 10 ? line.subarray(0, -1) : line;
  if (carried === null && given === undefined) {
    throw new VerifyError("format", "The proof does not carry its entry, so there is nothing to look for in the log.");
  }
  if (carried !== null && given !== undefined && !equal(carried, given)) {
    throw new VerifyError("proof", "The entry given is not the one that the proof carries.");
  }
  return carried ?? given;
}

/** The public vectors of testdata/vectors: Merkle probes, notes, cosignatures, tile paths, signatures, a whole log. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { decodeBase64, equal, fromHex, toHex, utf8 } from "../../server/tlog_server/static/js/bytes.js";
import { parseCheckpoint } from "../../server/tlog_server/static/js/checkpoint.js";
import { FormatError, VerifyError } from "../../server/tlog_server/static/js/errors.js";
import { EMPTY_ROOT, leafHash, nodeHash, sha256, verifyEd25519 } from "../../server/tlog_server/static/js/hash.js";
import { openNote, parseNote, parseVkey } from "../../server/tlog_server/static/js/note.js";
import { TileReader } from "../../server/tlog_server/static/js/reader.js";
import {
  decodeBundle,
  parseTilePath,
  rootFromConsistency,
  rootFromInclusion,
  tilePath,
} from "../../server/tlog_server/static/js/tree.js";
import { VECTORS, readJson } from "./helper.mjs";

const MERKLE = join(VECTORS, "transparency-dev+merkle", "testdata");
const TESSERA = join(VECTORS, "transparency-dev+tessera", "testdata", "log");
const SUNLIGHT = join(VECTORS, "FiloSottile+sunlight", "cmd", "skylight", "testdata");

function probes(kind) {
  return readdirSync(join(MERKLE, kind), { recursive: true })
    .filter((name) => name.endsWith(".json"))
    .map((name) => [name, readFileSync(join(MERKLE, kind, name), "utf8")]);
}

/** The number that a probe's text has; JSON.parse would round those beyond 2^53. */
function number(text, field) {
  const [, digits] = new RegExp(`"${field}": ?([0-9]+)`).exec(text);
  return BigInt(digits) > BigInt(Number.MAX_SAFE_INTEGER) ? BigInt(digits) : Number(digits);
}

async function accepts(action) {
  try {
    return await action();
  } catch (error) {
    if (error instanceof FormatError || error instanceof VerifyError) return false;
    throw error;
  }
}

const bytes = (text) => decodeBase64(text ?? "", "probe");

test("inclusion probes of transparency-dev/merkle", async () => {
  let good = 0;
  const all = probes("inclusion");
  for (const [name, text] of all) {
    const { root, leafHash: leaf, proof, wantErr } = JSON.parse(text);
    const [index, size] = [number(text, "leafIdx"), number(text, "treeSize")];
    const isAccepted = await accepts(async () =>
      equal(await rootFromInclusion(bytes(leaf), index, size, (proof ?? []).map(bytes)), bytes(root)),
    );
    assert.equal(isAccepted, !wantErr, name);
    good += isAccepted;
  }
  assert.deepEqual([all.length, good], [53, 4]);
});

test("consistency probes of transparency-dev/merkle", async () => {
  let good = 0;
  const all = probes("consistency");
  for (const [name, text] of all) {
    const { root1, root2, proof, wantErr } = JSON.parse(text);
    const [old, size] = [number(text, "size1"), number(text, "size2")];
    const hashes = (proof ?? []).map(bytes);
    const isAccepted = await accepts(async () => {
      // Of one size, two trees are consistent where they are one; the library's callers compare these themselves.
      if (old === size) return old > 0 && hashes.length === 0 && equal(bytes(root1), bytes(root2));
      const { oldRoot, newRoot } = await rootFromConsistency(old, size, bytes(root1), hashes);
      return equal(oldRoot, bytes(root1)) && equal(newRoot, bytes(root2));
    });
    assert.equal(isAccepted, !wantErr, name);
    good += isAccepted;
  }
  assert.deepEqual([all.length, good], [43, 3]);
});

test("hashes of RFC 6962", async () => {
  assert.equal(toHex(await sha256(new Uint8Array())), toHex(EMPTY_ROOT));
  const leaf = await leafHash(utf8("L123456"));
  assert.equal(toHex(leaf), "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56");
  const node = await nodeHash(utf8("N123"), utf8("N456"));
  assert.equal(toHex(node), "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb");
});

test("signed notes of golang.org/x/mod and C2SP", async () => {
  const vectors = readJson(VECTORS, "transcribed", "signed_note.json");
  for (const vkey of vectors.vkeys_bad) await assert.rejects(parseVkey(vkey), FormatError, vkey);
  const kinds = { malformed: "FormatError", invalid_signature: "signature", unverified: "unsigned" };
  const seen = new Set();
  for (const { name, note, keys, want, verified } of vectors.open) {
    const opened = openNote(note, await Promise.all(keys.map(parseVkey)));
    seen.add(want);
    if (want === "ok") {
      assert.deepEqual((await opened).verified.map((key) => key.name), verified, name);
    } else {
      await assert.rejects(opened, (error) => (error.kind ?? error.name) === kinds[want], name);
    }
  }
  assert.deepEqual([...seen].sort(), [...Object.keys(kinds), "ok"].sort());
});

test("paths of tiles", () => {
  const { ok, bad } = readJson(VECTORS, "transcribed", "tile_paths.json");
  for (const [path, level, index, width] of ok) {
    if (index > Number.MAX_SAFE_INTEGER) {
      assert.throws(() => parseTilePath(path), /do not count exactly/);
    } else {
      assert.deepEqual(parseTilePath(path), { level, index, width });
      assert.equal(tilePath({ level, index, width }), path);
    }
  }
  for (const path of bad) assert.throws(() => parseTilePath(path), FormatError, path);
  assert.deepEqual([ok.length, bad.length], [13, 16]);
});

test("sunlight's cosignatures, over their own checkpoint and over another one", async () => {
  const rome = "000de184301123b9278c086a7d9f68c9577e83872224c197058fd90784ea9706";
  const milan = "88ad7a28caeb0b2aa890fdf0304c2fcaf59fca2ee140134ff8c1300bac493482";
  const cosigned = [
    [`witness/${rome}/checkpoint`, "witness/witness.v0.json"],
    [`witness/mirror/${rome}/checkpoint`, "witness/mirror/mirror.v0.json"],
    [`witness2/${milan}/checkpoint`, "witness2/witness.v0.json"],
  ];
  for (const [file, witness] of cosigned) {
    const [vkey] = readJson(SUNLIGHT, witness).verifier_keys;
    const key = await parseVkey(vkey);
    const note = readFileSync(join(SUNLIGHT, file), "utf8");
    const opened = await openNote(note, key);
    assert.deepEqual(opened.verified, [key]);
    assert.equal(parseCheckpoint(note).treeSize, 300);
    const other = note.replace("\n300\n", "\n301\n");
    await assert.rejects(openNote(other, key), (error) => error.kind === "signature");
  }
});

test("Ed25519 signatures of Wycheproof", async () => {
  const { testGroups } = readJson(VECTORS, "C2SP+wycheproof", "testvectors_v1", "ed25519_test.json");
  let count = 0;
  for (const { publicKey, tests } of testGroups) {
    const key = fromHex(publicKey.pk, "key");
    for (const { tcId, msg, sig, result } of tests) {
      const isGood = await verifyEd25519(key, fromHex(msg, "message"), fromHex(sig, "signature"));
      assert.equal(isGood, result === "valid", `test ${tcId}`);
      count += 1;
    }
  }
  assert.equal(count, 151);
});

test("Tessera's log of 16 sizes: signatures, every entry, and consistency between all of them", async () => {
  const key = await parseVkey("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx");
  const tile = async (which) => new Uint8Array(readFileSync(join(TESSERA, tilePath(which))));
  const read = (_, size) => parseCheckpoint(readFileSync(join(TESSERA, `checkpoint.${size}`)));
  const checkpoints = Array.from({ length: 16 }, read);
  for (const [size, checkpoint] of checkpoints.entries()) {
    assert.deepEqual((await openNote(checkpoint.note, key)).verified, [key]);
    assert.equal(checkpoint.treeSize, size);
    const reader = new TileReader(tile, checkpoint);
    if (size === 0) {
      assert.deepEqual(await reader.readNodes([]), []);
      continue;
    }
    const bundle = decodeBundle(await tile({ level: "entries", index: 0, width: size }), size);
    for (const [index, entry] of bundle.entries()) {
      const { hashes } = await reader.inclusion(index);
      const root = await rootFromInclusion(await leafHash(entry), index, size, hashes);
      assert.ok(equal(root, checkpoint.rootHash), `${index} of ${size}`);
    }
    for (let old = 1; old < size; old += 1) {
      const { rootHash } = checkpoints[old];
      const { oldRoot, newRoot } = await rootFromConsistency(old, size, rootHash, await reader.consistency(old));
      assert.ok(equal(oldRoot, rootHash) && equal(newRoot, checkpoint.rootHash), `${old} to ${size}`);
    }
  }
  await assert.rejects(new TileReader(tile, { treeSize: 15, rootHash: checkpoints[14].rootHash }).inclusion(0));
});

test("a note has one spelling", () => {
  const note = readFileSync(join(TESSERA, "checkpoint.5"), "utf8");
  assert.equal(parseNote(note).raw, note);
  const others = [note.replace("\n\n", "\n \n"), note.slice(0, -1), `${note}\n`, note.replace("\u2014 ", "- ")];
  others.push(note.replaceAll("\n", "\r\n"));
  for (const other of others) assert.throws(() => parseNote(other), FormatError, JSON.stringify(other));
});

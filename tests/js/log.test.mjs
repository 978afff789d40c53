/** Logs that the Python library made: every proof verifies, and is the one that the tiles give. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { encodeBase64, toHex } from "../../server/tlog_server/static/js/bytes.js";
import { parseCheckpoint } from "../../server/tlog_server/static/js/checkpoint.js";
import { drawPath } from "../../server/tlog_server/static/js/draw.js";
import { TileReader } from "../../server/tlog_server/static/js/reader.js";
import { LogSource } from "../../server/tlog_server/static/js/source.js";
import { formatProof, parseConsistencyProof, parseProof } from "../../server/tlog_server/static/js/tlogproof.js";
import { verifyCheckpoint, verifyConsistency, verifyEntry, verifyProof } from "../../server/tlog_server/static/js/verify.js";
import { DATA, logOf, readJson, refused, serve } from "./helper.mjs";

const statements = readJson(DATA, "statements.json");

for (const name of ["small", "large"]) {
  const log = logOf(name);

  test(`${name}: every proof file of Python's verifies, and is written again as it was`, async () => {
    for (const { index, size, text } of log.proofs) {
      const proved = await verifyProof(text, log.vkey);
      assert.deepEqual([proved.ok, proved.index, proved.checkpoint.treeSize], [true, index, size]);
      assert.equal(proved.proof, text);
      assert.equal(formatProof(parseProof(text)), text);
      assert.ok(proved.steps.every(({ state }) => state === "done"));
      assert.ok(proved.notProved.length >= 2);
    }
    assert.ok(log.proofs.length >= 15);
  });

  test(`${name}: entries verify from the tiles, with Python's path`, async () => {
    const last = log.proofs.filter(({ size }) => size === log.proofs.at(-1).size || name === "small");
    for (const { index, size, text } of last) {
      const heard = [];
      const onStep = ({ id, state }) => heard.push(`${id} ${state}`);
      const fetch = serve(name, { checkpoint: log.checkpoints[size] });
      const proved = await verifyEntry({ ...log.where, index, fetch, onStep });
      assert.equal(proved.proof, text, `${index} of ${size}`);
      assert.equal(proved.entry.seq, index);
      assert.ok(proved.path.every(({ tiles }) => tiles.length > 0));
      const ids = ["key", "checkpoint", "signature", "tiles", "entry", "path", "content"];
      assert.deepEqual(heard, ids.flatMap((id) => [`${id} running`, `${id} done`]));
    }
  });

  test(`${name}: consistency proofs from the tiles are Python's`, async () => {
    for (const { old, new: size, text } of log.consistency) {
      const checkpoint = parseCheckpoint(log.checkpoints[size]);
      const source = new LogSource({ ...log.where, fetch: serve(name) });
      const hashes = await new TileReader((tile) => source.tile(tile), checkpoint).consistency(old);
      const expected = parseConsistencyProof(text);
      assert.deepEqual([hashes.map(encodeBase64), old], [expected.hashes.map(encodeBase64), expected.oldSize]);
      const grown = await verifyConsistency({
        ...log.where,
        oldCheckpoint: log.checkpoints[old],
        newCheckpoint: log.checkpoints[size],
        fetch: serve(name),
      });
      assert.deepEqual([grown.old.treeSize, grown.new.treeSize, grown.hashes.length], [old, size, hashes.length]);
    }
  });
}

test("the published checkpoint is taken where none is given", async () => {
  const log = logOf("small");
  const checked = await verifyCheckpoint({ ...log.where, fetch: serve("small") });
  assert.deepEqual([checked.checkpoint.treeSize, checked.remembered], [300, null]);
  const grown = await verifyConsistency({ ...log.where, oldCheckpoint: log.checkpoints[7], fetch: serve("small") });
  assert.equal(grown.new.treeSize, 300);
});

test("what an entry says is shown as it stands, large numbers and hidden characters too", async () => {
  const log = logOf("small");
  const { entry, entryBytes } = await verifyEntry({ ...log.where, index: 0, fetch: serve("small") });
  assert.equal(entry.meta, '{"writer":"tests","id":"first"}');
  assert.ok(entry.prettyData.includes('"large": 9223372036854775808'), entry.prettyData);
  assert.ok(entry.prettyData.includes("user-0 \\u202e\u00e4\u{1f642}"), entry.prettyData);
  assert.ok(new TextDecoder().decode(entryBytes).endsWith(`"hash":"${toHex(entry.hash)}"}`));
  assert.equal(toHex(entry.prevHash), "0".repeat(64));
});

test("a partial tile that is gone is cut from the full one", async () => {
  const log = logOf("small");
  const isGone = (path) => path === "tile/0/000.p/3" || path === "tile/entries/000.p/3";
  const alter = (path, body) => (isGone(path) ? new Response("", { status: 404 }) : body);
  const fetch = serve("small", { checkpoint: log.checkpoints[3], alter });
  assert.equal((await verifyEntry({ ...log.where, index: 1, fetch })).index, 1);
  assert.ok(fetch.asked.includes("tile/0/000") && fetch.asked.includes("tile/entries/000"));
});

test("policies: whoever has cosigned counts once, and what cannot be checked never", async () => {
  const policies = [statements.met, statements.not_met];
  for (const policy of policies[0]) {
    const proved = await verifyProof(statements.proof, policy);
    assert.deepEqual(proved.signed.met, ["w0", "w1"]);
    assert.equal(proved.signed.unchecked.includes("pq"), policy.includes(" pq "));
    assert.equal(proved.notProved.some((limit) => limit.includes("not checked")), policy.includes(" pq "));
  }
  for (const policy of policies[1]) await refused(verifyProof(statements.proof, policy), "quorum");
  assert.equal(policies.flat().length, 8);
});

test("a log's ML-DSA-44 signature is said to be unchecked, and proves nothing here", async () => {
  const proved = await verifyProof(statements.proof, statements.both_log_keys);
  assert.equal(proved.signed.logKey.text, logOf("small").vkey);
  assert.equal(proved.signed.uncheckedLogs.length, 1);
  assert.ok(proved.notProved.some((limit) => limit.includes("not checked in browsers")));
  for (const trust of statements.unchecked) {
    const error = await refused(verifyProof(statements.proof, trust), "unsupported");
    assert.deepEqual([error.step, error.isAlarm], ["signature", false]);
  }
});

test("a proof without its entry needs it besides", async () => {
  const log = logOf("small");
  const line = new TextEncoder().encode(statements.line);
  await refused(verifyProof(statements.bare, log.vkey), "format");
  assert.equal((await verifyProof(statements.bare, log.vkey, { entry: line })).index, 100);
  const withNewline = new TextEncoder().encode(`${statements.line}\n`);
  assert.equal((await verifyProof(statements.proof, log.vkey, { entry: withNewline })).index, 100);
  await refused(verifyProof(statements.bare, log.vkey, { entry: line.slice(1) }), "proof");
  await refused(verifyProof(statements.proof, log.vkey, { entry: line.slice(1) }), "proof");
});

test("the drawing tells every hash in words too", async () => {
  const log = logOf("small");
  const proved = await verifyProof(log.proofs.at(-1).text, log.vkey);
  class Node {
    constructor(name) {
      Object.assign(this, { name, attributes: {}, children: [], textContent: "" });
    }
    setAttribute(key, value) {
      assert.ok(!["style", "onclick"].includes(key));
      this.attributes[key] = value;
    }
    append(...children) {
      this.children.push(...children);
    }
  }
  const svg = drawPath({ createElementNS: (_, name) => new Node(name) }, proved);
  const [title, desc, ...parts] = svg.children;
  assert.equal(title.textContent, "The way from entry 299 to the root hash of 300 entries");
  for (const { hash } of proved.path) assert.ok(desc.textContent.includes(encodeBase64(hash)));
  assert.equal(parts.filter(({ name }) => name === "g").length, 2 * proved.path.length + 1);
});

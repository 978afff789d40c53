/** Every kind of byte that comes from a log or a file altered, one bit or one line at a time: never accepted. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { equal, utf8 } from "../../server/tlog_server/static/js/bytes.js";
import { FormatError, VerifyError } from "../../server/tlog_server/static/js/errors.js";
import { parseVkey } from "../../server/tlog_server/static/js/note.js";
import { parseProof } from "../../server/tlog_server/static/js/tlogproof.js";
import { verifyConsistency, verifyEntry, verifyProof } from "../../server/tlog_server/static/js/verify.js";
import { DATA, flipped, logOf, readJson, refused, serve } from "./helper.mjs";

const log = logOf("small");
const statements = readJson(DATA, "statements.json");
const proofOf = (index, size) => log.proofs.find((proof) => proof.index === index && proof.size === size).text;
const fileOf = (path) => new Uint8Array(readFileSync(join(DATA, "small", path)));

/** One bit of every byte, another one in the next. */
function* bits(length, step = 1) {
  for (let byte = 0; byte < length; byte += step) yield byte * 8 + ((byte * 5) % 8);
}

test("a bit of every byte of a proof file, and every bit of it behind the entry", async () => {
  const proof = utf8(proofOf(1, 3));
  for (const bit of bits(proof.length)) await refused(verifyProof(flipped(proof, bit), log.vkey));
  const start = proofOf(1, 3).indexOf("\nindex ");
  for (let bit = start * 8; bit < proof.length * 8; bit += 1) await refused(verifyProof(flipped(proof, bit), log.vkey));
});

test("a bit of every byte of a cosigned proof file, under a policy that wants both witnesses", async () => {
  const [, , both] = statements.met;
  const proof = utf8(statements.proof);
  const lines = statements.proof.trimEnd().split("\n");
  // The last two lines are of keys that this policy does not know: nobody's statements, which may say what they like.
  const ignored = utf8(`${lines.slice(-2).join("\n")}\n`);
  const end = proof.length - ignored.length;
  assert.ok(ignored.length > 6000 && end > 1000);
  for (const bit of bits(end, 3)) await refused(verifyProof(flipped(proof, bit), both));
});

test("lines of a proof dropped, doubled, exchanged, and put in between", async () => {
  const lines = proofOf(256, 300).split("\n").slice(0, -1);
  const tried = new Set();
  for (const place of lines.keys()) {
    const others = [
      lines.toSpliced(place, 1),
      lines.toSpliced(place, 0, lines[place]),
      lines.toSpliced(place, 0, ""),
      lines.toSpliced(place, 0, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
      ...[...lines.keys()].map((other) => lines.with(place, lines[other]).with(other, lines[place])),
    ];
    for (const other of others) tried.add(`${other.join("\n")}\n`);
  }
  tried.delete(`${lines.join("\n")}\n`);
  tried.delete(`${[...lines, lines.at(-1)].join("\n")}\n`); // one signature twice is one signature
  for (const text of tried) await refused(verifyProof(text, log.vkey));
  assert.ok(tried.size > 100);
});

test("index, size, root and hashes of other proofs of the same log", async () => {
  const [one, other, earlier] = [proofOf(254, 300), proofOf(255, 300), proofOf(254, 257)];
  const head = (text) => text.slice(0, text.indexOf("\n\n"));
  const tail = (text) => text.slice(text.indexOf("\n\n"));
  const swaps = [head(one) + tail(earlier), head(earlier) + tail(one)];
  swaps.push(...[255, 0].map((index) => one.replace("index 254", `index ${index}`)));
  const extra = (text) => /^extra .*$/m.exec(text)[0];
  swaps.push(one.replace(extra(one), extra(other)));
  for (const text of swaps) await refused(verifyProof(text, log.vkey), "proof");
  await refused(verifyProof(one.replace("index 254", "index 300"), log.vkey), "not-covered");
});

test("another key, another log, and every character of the key", async () => {
  const proof = proofOf(254, 300);
  await refused(verifyProof(proof, statements.impostor), "unsigned");
  await refused(verifyProof(proof, statements.other_log), "wrong-origin");
  for (const place of log.vkey.split("").keys()) {
    for (const character of "aA0+/=\n é") {
      const changed = log.vkey.slice(0, place) + character + log.vkey.slice(place + 1);
      if (changed !== log.vkey) await assert.rejects(parseVkey(changed), FormatError, changed);
    }
    await refused(verifyProof(proof, log.vkey.slice(0, place)), "format");
  }
});

test("a key under which anybody can sign is no key", async () => {
  const { compute } = await import("./weak.mjs");
  for (const vkey of await compute(log.origin)) await assert.rejects(parseVkey(vkey), /small order/, vkey);
});

test("tiles: a bit of every hash in every tile on the way, whether the proof needs that hash or not", async () => {
  for (const [tile, step] of [["tile/0/000", 96], ["tile/0/001.p/44", 32], ["tile/1/000.p/1", 1]]) {
    const body = fileOf(tile);
    for (const bit of bits(body.length, step)) {
      const fetch = serve("small", { alter: (path, found) => (path === tile ? flipped(found, bit) : found) });
      const error = await refused(verifyEntry({ ...log.where, index: 77, fetch }), "tile");
      assert.equal(error.step, "tiles");
    }
  }
});

test("tiles exchanged, shortened, lengthened, empty", async () => {
  const changes = [
    (body) => body.subarray(0, -1),
    (body) => body.subarray(0, -32),
    (body) => new Uint8Array([...body, 0]),
    () => new Uint8Array(),
    (body, path) => fileOf(path === "tile/0/000" ? "tile/0/001.p/44" : "tile/0/000"),
  ];
  for (const tile of ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"]) {
    for (const change of changes) {
      const fetch = serve("small", { alter: (path, body) => (path === tile ? change(body, path) : body) });
      await refused(verifyEntry({ ...log.where, index: 77, fetch }), "tile", "too-large");
      const consistency = { ...log.where, oldCheckpoint: log.checkpoints[7], fetch };
      await refused(verifyConsistency(consistency), "tile", "too-large");
    }
  }
});

test("tiles on the edge of a large tree: each one altered is found", async () => {
  const large = logOf("large");
  const asked = serve("large");
  await verifyEntry({ ...large.where, index: 65_536, fetch: asked });
  const tiles = [...new Set(asked.asked)].filter((path) => /^tile\/[0-9]/.test(path));
  assert.ok(tiles.some((path) => path.startsWith("tile/2/")), tiles);
  const needed = serve("large");
  await verifyConsistency({ ...large.where, oldCheckpoint: large.checkpoints[65_311], fetch: needed });
  assert.ok(needed.asked.filter((path) => tiles.includes(path)).length >= 3);
  for (const tile of tiles) {
    for (const bit of [0, 300]) {
      const alter = (path, body) => (path === tile ? flipped(body, bit % (body.length * 8)) : body);
      await refused(verifyEntry({ ...large.where, index: 65_536, fetch: serve("large", { alter }) }), "tile");
      const fetch = serve("large", { alter });
      const grown = verifyConsistency({ ...large.where, oldCheckpoint: large.checkpoints[65_311], fetch });
      if (needed.asked.includes(tile)) await refused(grown, "tile");
      else assert.equal((await grown).ok, true);
    }
  }
});

test("entry bundles: what is accepted is the entry as it was", async () => {
  const [index, bundle] = [1, "tile/entries/000.p/3"];
  const ask = (alter) => {
    const changed = (path, body) => (path === bundle ? alter(body) : body);
    const fetch = serve("small", { checkpoint: log.checkpoints[3], alter: changed });
    return verifyEntry({ ...log.where, index, fetch });
  };
  const good = (await ask((body) => body)).entryBytes;
  const whole = fileOf(bundle);
  const start = 2 + (whole[0] << 8) + whole[1] + 2;
  assert.deepEqual(whole.slice(start, start + good.length), good);
  for (const bit of bits(whole.length)) {
    const place = Math.floor(bit / 8);
    if (place >= start && place < start + good.length) {
      assert.equal((await refused(ask((body) => flipped(body, bit)))).kind, "entry");
      continue;
    }
    try {
      const { entryBytes } = await ask((body) => flipped(body, bit));
      assert.ok(equal(entryBytes, good), `bit ${bit}`); // the bit is another entry's
    } catch (error) {
      assert.ok(error instanceof VerifyError && ["entry", "format"].includes(error.kind), `${error.stack}`);
    }
  }
});

test("every bit of the published checkpoint", async () => {
  const length = fileOf("checkpoint").length;
  for (let bit = 0; bit < length * 8; bit += 1) {
    const fetch = serve("small", { alter: (path, body) => (path === "checkpoint" ? flipped(body, bit) : body) });
    await refused(verifyEntry({ ...log.where, index: 77, fetch }), "format", "unsigned", "signature", "wrong-origin");
    assert.deepEqual(fetch.asked, ["checkpoint"]);
  }
});

test("what the log has signed although it is no entry of this place", async () => {
  for (const { why, text, vkey } of statements.nonsense) {
    const error = await refused(verifyProof(text, vkey), "chain", "format");
    assert.deepEqual([why, error.step], [why, "content"]);
    assert.equal(error.kind, ["no entry", "two equal keys"].includes(why) ? "format" : "chain");
  }
  assert.equal(statements.nonsense.length, 5);
});

test("a proof that is accepted has one spelling", async () => {
  const text = proofOf(2, 3);
  const { hashes, extra } = parseProof(text);
  assert.deepEqual([hashes.length, extra.length > 100], [1, true]);
  const others = ["index 02", "index +2", "index 2 ", "index  2", "Index 2"].map((line) => text.replace("index 2", line));
  others.push(text.replaceAll("\n", "\r\n"), `\ufeff${text}`, ` ${text}`, `${text}\n`, text.slice(0, -1));
  others.push(text.replace("=\n", "\n"));
  for (const other of others) {
    assert.throws(() => parseProof(other), FormatError, JSON.stringify(other.slice(-80)));
  }
});

/** Servers that lie, fail or stall: each is refused as what it is, with the evidence where there is some. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Memory } from "../../server/tlog_server/static/js/memory.js";
import { parseVkey } from "../../server/tlog_server/static/js/note.js";
import { LogSource } from "../../server/tlog_server/static/js/source.js";
import { verifyCheckpoint, verifyConsistency, verifyEntry } from "../../server/tlog_server/static/js/verify.js";
import { BASE, DATA, FakeStorage, logOf, readJson, refused, serve } from "./helper.mjs";

const [small, forked] = [logOf("small"), logOf("forked")];
const statements = readJson(DATA, "statements.json");
const index = 5;

/** A memory in which the key is pinned, and a visit at a size is remembered. */
async function visited(size) {
  const memory = new Memory(new FakeStorage(), () => new Date("2026-11-21T09:00:00Z"));
  memory.pin(await parseVkey(small.vkey));
  if (size !== undefined) {
    await verifyCheckpoint({ ...small.where, memory, fetch: serve("small", { checkpoint: small.checkpoints[size] }) });
  }
  return memory;
}

test("the two logs have one key and contradict each other, each being right in itself", async () => {
  assert.equal(small.vkey, forked.vkey);
  for (const name of ["small", "forked"]) await verifyEntry({ ...small.where, index, fetch: serve(name) });
});

test("split view: another tree of the size that is remembered", async () => {
  const memory = await visited(300);
  const fetch = serve("forked", { checkpoint: forked.checkpoints[300] });
  for (const verify of [verifyCheckpoint, verifyEntry]) {
    const error = await refused(verify({ ...small.where, index, memory, fetch }), "split-view");
    assert.deepEqual(error.evidence, { old: small.checkpoints[300], new: forked.checkpoints[300] });
    assert.deepEqual([error.step, error.isAlarm], ["memory", true]);
  }
  assert.equal(memory.look(small.origin).history.at(-1).text, small.checkpoints[300]);
});

test("fork: a larger tree that does not begin with the one that is remembered", async () => {
  const memory = await visited(300);
  const error = await refused(verifyEntry({ ...small.where, index, memory, fetch: serve("forked") }), "fork");
  assert.deepEqual(error.evidence, { old: small.checkpoints[300], new: forked.checkpoints[310] });
  assert.equal(memory.look(small.origin).history.length, 1);
  const both = { oldCheckpoint: small.checkpoints[300], newCheckpoint: forked.checkpoints[310] };
  await refused(verifyConsistency({ ...small.where, ...both, fetch: serve("forked") }), "fork");
  // Up to where they part, the one extends the other.
  await verifyEntry({ ...small.where, index, memory: await visited(257), fetch: serve("forked") });
});

test("rollback: an old checkpoint replayed", async () => {
  const memory = await visited(300);
  const fetch = serve("small", { checkpoint: small.checkpoints[257] });
  const error = await refused(verifyEntry({ ...small.where, index, memory, fetch }), "rollback");
  assert.deepEqual(error.evidence, { old: small.checkpoints[300], new: small.checkpoints[257] });
  assert.equal(error.isAlarm, true);
  const both = { oldCheckpoint: small.checkpoints[300], newCheckpoint: small.checkpoints[257] };
  await refused(verifyConsistency({ ...small.where, ...both, fetch: serve("small") }), "rollback");
});

test("growth since the last visit is proved, and remembered", async () => {
  const memory = await visited(8);
  for (const size of [8, 255, 256, 300]) {
    const fetch = serve("small", { checkpoint: small.checkpoints[size] });
    await verifyEntry({ ...small.where, index, memory, fetch });
  }
  const sizes = memory.look(small.origin).history.map(({ text }) => Number(text.split("\n")[1]));
  assert.deepEqual(sizes, [8, 255, 256, 300]);
});

test("growth whose tiles are wrong proves nothing, and accuses the server and not the log", async () => {
  const alter = (path, body) => (path === "tile/0/000" ? body.with(0, body[0] ^ 1) : body);
  const error = await refused(
    verifyEntry({ ...small.where, index, memory: await visited(7), fetch: serve("small", { alter }) }),
    "tile",
  );
  assert.equal(error.evidence, undefined);
});

test("a checkpoint of another log, one that nobody signed, and an empty one", async () => {
  const other = { ...small.where, vkey: statements.other_log };
  await refused(verifyEntry({ ...other, index, fetch: serve("small") }), "wrong-origin");
  await refused(verifyEntry({ ...small.where, vkey: statements.impostor, index, fetch: serve("small") }), "unsigned");
  const unsigned = small.checkpoints[300].split("\n").slice(0, 4).join("\n");
  await refused(verifyEntry({ ...small.where, index, fetch: serve("small", { checkpoint: unsigned }) }), "format");
  await refused(verifyEntry({ ...small.where, index: 300, fetch: serve("small") }), "not-covered");
  for (const wrong of [-1, 1.5, NaN, 2 ** 53, "5", undefined]) {
    await refused(verifyEntry({ ...small.where, index: wrong, fetch: serve("small") }), "not-covered");
  }
});

test("a memory without a key, with another key, or in disorder is no memory", async () => {
  const storage = new FakeStorage();
  const memory = new Memory(storage);
  const ask = () => verifyEntry({ ...small.where, index, memory, fetch: serve("small") });
  await refused(ask(), "unpinned");
  memory.pin(await parseVkey(statements.impostor));
  const error = await refused(ask(), "key-changed");
  assert.deepEqual([error.expected, error.found, error.isAlarm], [statements.impostor, small.vkey, true]);
  for (const disorder of ["", "{}", "null", "[1]", '{"vkey":"x","pinnedAt":"y","history":[]}']) {
    storage.setItem(storage.key(0), disorder);
    await refused(ask(), "memory");
  }
  memory.forget(small.origin);
  memory.pin(await parseVkey(small.vkey));
  const entry = JSON.parse(storage.getItem(storage.key(0)));
  const forged = small.checkpoints[300].replace("\n300\n", "\n400\n");
  storage.setItem(storage.key(0), JSON.stringify({ ...entry, history: [{ text: forged, verifiedAt: "2026" }] }));
  await refused(ask(), "memory");
});

test("redirects, refusals, absence", async () => {
  const answers = [
    [() => new Response("", { status: 302, headers: { Location: "https://elsewhere.example/" } }), "redirect"],
    [() => Object.defineProperty(new Response(""), "redirected", { value: true }), "redirect"],
    [() => Object.defineProperty(new Response(""), "url", { value: "https://elsewhere.example/" }), "redirect"],
    [() => Object.defineProperty(Response.error(), "type", { value: "opaqueredirect" }), "redirect"],
    [() => new Response("", { status: 404 }), "not-found"],
    [() => new Response("", { status: 500 }), "http"],
    [() => new Response("", { status: 401 }), "http"],
    [() => new Response(null, { status: 204 }), "http"],
    [() => new Response("<html>"), "format", "tile", "entry"],
    [() => new Response(new Uint8Array((1 << 20) + 1)), "too-large"],
    [() => Promise.reject(new TypeError("refused")), "network"],
  ];
  for (const part of ["checkpoint", "tile/1/000.p/1", "tile/0/000", "tile/entries/000"]) {
    for (const [make, ...kinds] of answers) {
      const served = serve("small");
      const fetch = (url, options) => (url.endsWith(`/${part}`) ? Promise.resolve(make()) : served(url, options));
      const error = await refused(verifyEntry({ ...small.where, index, fetch }));
      // A whole bundle has room for as many bytes, and then it is these that are no bundle.
      const isBundle = kinds.includes("too-large") && part === "tile/entries/000" && error.kind === "format";
      assert.ok(kinds.includes(error.kind) || isBundle, `${part}: ${error.kind}`);
    }
  }
});

test("servers that stall, before and within an answer", async () => {
  const stalled = (url, { signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const dripping = async (url, { signal }) =>
    new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new Uint8Array(10));
          signal.addEventListener("abort", () => controller.error(signal.reason));
        },
      }),
    );
  for (const fetch of [stalled, dripping]) {
    const error = await refused(verifyEntry({ ...small.where, index, fetch, timeoutMs: 50 }), "timeout");
    assert.equal(error.step, "checkpoint");
  }
});

test("an answer without end is cut off", async () => {
  let sent = 0;
  const endless = async () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          sent += 1 << 16;
          if (sent > 1 << 26) return controller.close(); // endless enough
          controller.enqueue(new Uint8Array(1 << 16));
        },
      }),
    );
  await refused(verifyEntry({ ...small.where, index, fetch: endless }), "too-large");
  assert.ok(sent < 2 << 20, `${sent}`);
});

test("only this log of this server is asked, without a way out", async () => {
  const asked = [];
  const served = serve("small");
  const fetch = (url, options) => {
    asked.push([url, options.redirect, options.credentials]);
    return served(url, options);
  };
  await verifyEntry({ ...small.where, index, fetch });
  assert.ok(asked.length > 3);
  for (const [url, redirect, credentials] of asked) {
    assert.ok(url.startsWith(`${BASE}users/`));
    assert.deepEqual([redirect, credentials], ["manual", "same-origin"]);
  }
  for (const partition of ["", "..", "a/b", "A", "x?y", "https://evil.example", "%2e%2e", "a".repeat(65)]) {
    assert.throws(() => new LogSource({ base: BASE, partition, fetch }), /is no name of a partition/);
    await refused(verifyEntry({ ...small.where, partition, index, fetch }), "format");
  }
});

/** What the browser remembers: keys are never replaced, checkpoints only by larger ones. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { MAX_HISTORY, Memory } from "../../server/tlog_server/static/js/memory.js";
import { parseVkey } from "../../server/tlog_server/static/js/note.js";
import { DATA, FakeStorage, logOf, readJson } from "./helper.mjs";

const [small, forked] = [logOf("small"), logOf("forked")];
const statements = readJson(DATA, "statements.json");
const kind = (wanted) => (error) => error.kind === wanted;

async function pinned(storage = new FakeStorage()) {
  const memory = new Memory(storage, () => new Date("2026-11-21T09:00:00Z"));
  memory.pin(await parseVkey(small.vkey));
  return memory;
}

test("a key is pinned once, and another one is an alarm", async () => {
  const memory = await pinned();
  const impostor = await parseVkey(statements.impostor);
  const before = memory.look(small.origin);
  assert.deepEqual(before, { vkey: small.vkey, pinnedAt: "2026-11-21T09:00:00.000Z", history: [] });
  assert.throws(() => memory.pin(impostor), kind("key-changed"));
  assert.throws(() => memory.require(impostor), kind("key-changed"));
  assert.deepEqual(memory.pin(await parseVkey(small.vkey)), before);
  memory.pin(await parseVkey(statements.other_log));
  assert.deepEqual(memory.origins(), [small.origin, "other.example.com/users"].sort());
  memory.forget(small.origin);
  assert.equal(memory.look(small.origin), null);
  assert.equal(memory.pin(impostor).vkey, statements.impostor);
});

test("a checkpoint is replaced by none that is smaller, or contradicts it", async () => {
  const memory = await pinned();
  assert.throws(() => new Memory(new FakeStorage()).remember(small.checkpoints[8]), kind("unpinned"));
  memory.remember(small.checkpoints[8]);
  memory.remember(small.checkpoints[8]);
  memory.remember(small.checkpoints[300]);
  assert.throws(() => memory.remember(small.checkpoints[8]), kind("rollback"));
  assert.throws(() => memory.remember(forked.checkpoints[300]), kind("split-view"));
  const kept = memory.look(small.origin).history.map(({ text }) => text);
  assert.deepEqual(kept, [small.checkpoints[8], small.checkpoints[300]]);
});

test("the history is bounded", async () => {
  const storage = new FakeStorage();
  const memory = await pinned(storage);
  const name = storage.key(0);
  const record = JSON.parse(storage.getItem(name));
  record.history = Array.from({ length: MAX_HISTORY }, () => ({ text: small.checkpoints[8], verifiedAt: "2026" }));
  storage.setItem(name, JSON.stringify(record));
  memory.remember(small.checkpoints[300]);
  const { history } = memory.look(small.origin);
  assert.deepEqual([history.length, history.at(-1).text], [MAX_HISTORY, small.checkpoints[300]]);
});

test("a browser that keeps nothing says so", () => {
  const fail = () => {
    throw new Error("denied");
  };
  const failing = { getItem: fail, setItem: fail, removeItem: fail, key: fail, length: 1 };
  assert.throws(() => new Memory(failing).look("x"), kind("memory"));
  assert.throws(() => new Memory(failing).origins(), kind("memory"));
  const full = new Memory({ ...failing, getItem: () => null });
  assert.throws(() => full.pin({ name: "x", text: "x+1+A" }), kind("memory"));
});

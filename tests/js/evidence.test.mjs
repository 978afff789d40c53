/** Evidence of split views that Python made: proved with the log's key alone, and refused when a bit is changed. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { equal } from "../../server/tlog_server/static/js/bytes.js";
import { FormatError, VerifyError } from "../../server/tlog_server/static/js/errors.js";
import { parseEvidence, verifyEvidence } from "../../server/tlog_server/static/js/evidence.js";
import { parseVkey } from "../../server/tlog_server/static/js/note.js";
import { DATA, flipped, logOf, readJson } from "./helper.mjs";

const { evidence, impostor, other_log: otherLog } = readJson(DATA, "statements.json");
const key = await parseVkey(logOf("small").vkey);
const [proved, none] = [true, false].map((is) => evidence.filter(({ is_proved: isProved }) => isProved === is));

test("what contradicts itself is proved, and what does not is refused", async () => {
  assert.deepEqual([proved.length, none.length], [3, 3]);
  for (const { text, size } of proved) {
    const split = await verifyEvidence(text, key);
    assert.equal(split.evidence.against.treeSize, size);
    assert.ok(!equal(split.rootHash, split.evidence.against.rootHash));
  }
  for (const { text } of none) {
    await assert.rejects(verifyEvidence(text, key), (error) => error instanceof VerifyError && error.kind === "proof");
  }
});

test("only the log's own key convicts it", async () => {
  for (const [vkey, kinds] of [[impostor, ["signature", "unsigned"]], [otherLog, ["wrong-origin"]]]) {
    for (const { text } of proved) {
      await assert.rejects(verifyEvidence(text, await parseVkey(vkey)), (error) => kinds.includes(error.kind));
    }
  }
});

test("no changed bit and no missing line proves anything", async () => {
  for (const { text } of proved) {
    const bytes = new TextEncoder().encode(text);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      await assert.rejects(verifyEvidence(flipped(bytes, bit), key), (error) =>
        error instanceof FormatError || (error instanceof VerifyError && error.kind !== "defect"));
    }
    const lines = text.split("\n");
    for (let place = 0; place < lines.length; place += 1) {
      await assert.rejects(verifyEvidence(lines.toSpliced(place, 1).join("\n"), key));
      if (lines[place].startsWith("\u2014")) continue; // one key's line twice counts once
      await assert.rejects(verifyEvidence(lines.toSpliced(place, 0, lines[place]).join("\n"), key));
    }
  }
});

test("there is one spelling, of bounded size", () => {
  const [{ text }] = proved;
  for (const bad of ["", "\n", `${text}\n`, ` ${text}`, text.replaceAll("\n", "\r\n"), text.slice(0, -1), "x".repeat(4 << 20)]) {
    assert.throws(() => parseEvidence(bad), FormatError);
  }
  const many = text.replace("\n\n", `\n${"A".repeat(43)}=`.repeat(66) + "\n\n");
  assert.throws(() => parseEvidence(many), FormatError);
});

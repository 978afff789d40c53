/** Text in its one spelling, and JSON laid out without a token changed. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  decodeBase64,
  decodeUtf8,
  encodeBase64,
  fromHex,
  parseDecimal,
  toHex,
  utf8,
} from "../../server/tlog_server/static/js/bytes.js";
import { FormatError } from "../../server/tlog_server/static/js/errors.js";
import { prettyJson, visible } from "../../server/tlog_server/static/js/jsontext.js";
import { decodeBundle, edgeTiles, tileAt } from "../../server/tlog_server/static/js/tree.js";

test("base64, hex, decimals and UTF-8 have one spelling", () => {
  for (const text of ["", "AA==", "AAA=", "AAAA", "+/+/"]) assert.equal(encodeBase64(decodeBase64(text, "x")), text);
  for (const text of ["A", "AA", "AAA", "AB==", "AAB=", "AA==\n", " AAAA", "AA-_", "A=AA", "====", "AA==AA=="]) {
    assert.throws(() => decodeBase64(text, "x"), FormatError, text);
  }
  assert.throws(() => decodeBase64("AAAA", "x", 32), FormatError);
  const large = new Uint8Array(70_000).map((_, place) => place % 251);
  assert.deepEqual(decodeBase64(encodeBase64(large), "x"), large);
  assert.equal(toHex(fromHex("00ff10", "x", 3)), "00ff10");
  for (const text of ["0", "0F", "0g", " 00"]) assert.throws(() => fromHex(text, "x"), FormatError, text);
  for (const text of ["0", "1", "9007199254740991"]) assert.equal(String(parseDecimal(text, "x")), text);
  const strange = ["", "00", "01", "+1", "-1", "1.0", "1e3", " 1", "1 ", "\uff15", "0x1"];
  for (const text of [...strange, "9007199254740992", "9".repeat(30)]) {
    assert.throws(() => parseDecimal(text, "x"), FormatError, text);
  }
  assert.equal(decodeUtf8(utf8("\ufeffä\u{1f642}"), "x"), "\ufeffä\u{1f642}");
  for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
    assert.throws(() => decodeUtf8(Uint8Array.from(bytes), "x"), FormatError);
  }
  assert.throws(() => utf8("\ud800"), FormatError);
});

test("JSON is laid out token by token", () => {
  const text = '{"b":[1.0,-0,1e21,18446744073709551615],"a":{},"c":[],"d":"\\u00e9\\n","e":[{"x":null}]}';
  assert.equal(
    prettyJson(text),
    '{\n  "b": [\n    1.0,\n    -0,\n    1e21,\n    18446744073709551615\n  ],\n  "a": {},\n  "c": [],\n' +
      '  "d": "\\u00e9\\n",\n  "e": [\n    {\n      "x": null\n    }\n  ]\n}',
  );
  assert.equal(JSON.stringify(JSON.parse(prettyJson(text))), JSON.stringify(JSON.parse(text)));
  const hidden = prettyJson('{"\u202ekey":"\u00a0\u200b\u{e0101}"}');
  assert.equal(hidden, '{\n  "\\u202ekey": "\\u00a0\\u200b\\udb40\\udd01"\n}');
  assert.equal(visible("a\tb\nc\u2028d e\u2800\ud800"), "a\\u0009b\\u000ac\\u2028d e\\u2800\\ud800");
});

test("JSON that readers read differently is refused", () => {
  const bad = [
    "", "{", "[1,]", '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', "NaN", "01", "1.", ".5", "+1", "18446744073709551616",
    "-9223372036854775809", "1e999", '"\\ud800"', '"\\u0000"', '"\t"', "'a'", "[1] 2", "tru", '{"a" 1}', '{1:2}', "[1 2]",
    "[".repeat(129) + "]".repeat(129), "1".repeat(5000),
  ];
  for (const text of bad) assert.throws(() => prettyJson(text), FormatError, text.slice(0, 40));
  assert.ok(prettyJson("[".repeat(128) + "]".repeat(128)).length > 128);
  assert.throws(() => prettyJson("[".repeat(100_000)), FormatError);
});

test("the tiles of a tree follow from its size", () => {
  assert.deepEqual(edgeTiles(0), []);
  assert.deepEqual(edgeTiles(256), [{ level: 1, index: 0, width: 1 }]);
  assert.deepEqual(edgeTiles(70_000), [
    { level: 2, index: 0, width: 1 },
    { level: 1, index: 1, width: 17 },
    { level: 0, index: 273, width: 112 },
  ]);
  assert.equal(tileAt(0, 273, 70_000).width, 112);
  assert.equal(edgeTiles(Number.MAX_SAFE_INTEGER).length, 7);
  for (const [level, index, size] of [[0, 1, 256], [1, 0, 255], [-1, 0, 5], [64, 0, 5], [0, -1, 5], [0, 0.5, 500]]) {
    assert.throws(() => tileAt(level, index, size), FormatError);
  }
});

test("a bundle holds exactly its entries", () => {
  const raw = Uint8Array.from([0, 0, 0, 2, 65, 66]);
  assert.deepEqual(decodeBundle(raw, 2).map((entry) => [...entry]), [[], [65, 66]]);
  const cut = [[raw.subarray(0, 5), 2], [raw.subarray(0, 3), 2], [[0], 1], [[255, 255], 1]];
  for (const [bytes, width] of [[raw, 1], [raw, 3], ...cut]) {
    assert.throws(() => decodeBundle(Uint8Array.from(bytes), width), FormatError);
  }
});

/**
 * JSON text, checked as strictly as the log does, and laid out for reading without changing a token of it.
 *
 * JSON.parse would not do: of two equal keys it drops one, and large numbers it rounds, so what it shows may not be what
 * was signed. Source: RFC 8259; docs/formats.md, "Entry".
 */

import { FormatError } from "./errors.js";

const MAX_NESTING = 128;
const INTEGER_DIGITS = 20;
const MIN_INTEGER = -(2n ** 63n);
const MAX_INTEGER = 2n ** 64n - 1n;
const STRING = /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;
const SPACE = /[ \t\r\n]*/y;
const INDENT = "  ";

// What cannot be seen, reorders or hides what stands beside it: control and format characters, unassigned and private
// ones, lone surrogates, every space but the plain one, and characters that are blank or change the one before.
const HIDDEN = new RegExp(
  "[\\p{C}\\p{Zl}\\p{Zp}\\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000\\u034f\\u115f\\u1160\\u17b4\\u17b5" +
    "\\u180b-\\u180f\\u2800\\u3164\\ufe00-\\ufe0f\\uffa0\\u{e0100}-\\u{e01ef}]",
  "gu",
);

/**
 * Text of strangers, made safe to look at: what cannot be seen is written as \uXXXX.
 * @param {string} text
 * @returns {string}
 */
export function visible(text) {
  return text.replace(HIDDEN, (found) =>
    Array.from({ length: found.length }, (_, place) => `\\u${hex4(found.charCodeAt(place))}`).join(""),
  );
}

/**
 * JSON text laid out on indented lines: every token as it stands, hidden characters as \uXXXX.
 * @param {string} text
 * @param {string} what names it in errors
 * @returns {string} Throws: FormatError for invalid JSON, double keys, integers outside 64 bits, NUL, lone surrogates,
 *   and nesting over 128.
 */
export function prettyJson(text, what = "data") {
  const scanner = new Scanner(text, what);
  scanner.space();
  scanner.value(0);
  scanner.space();
  if (scanner.position !== text.length) scanner.fail("something follows the value");
  return scanner.lines.join("");
}

/** Where the JSON value that begins at `start` ends. Throws: FormatError, as `prettyJson`. */
export function endOfJson(text, start, what) {
  const scanner = new Scanner(text, what, start);
  scanner.value(0);
  return scanner.position;
}

/** Walks over JSON text once. Cost: linear. */
class Scanner {
  constructor(text, what, start = 0) {
    this.text = text;
    this.what = what;
    this.position = start;
    this.lines = [];
  }

  fail(reason) {
    const place = `at character ${this.position}`;
    throw new FormatError(this.what, `is not JSON that every reader reads alike: ${reason}, ${place}`);
  }

  value(depth) {
    const first = this.text[this.position];
    if (first === "{" || first === "[") {
      if (depth >= MAX_NESTING) this.fail(`it is nested deeper than ${MAX_NESTING} levels`);
      this.container(first, depth + 1);
    } else if (first === '"') {
      this.lines.push(visible(this.string()));
    } else {
      this.lines.push(this.token(WORD) ?? this.number());
    }
  }

  container(first, depth) {
    const [last, keys] = first === "{" ? ["}", new Set()] : ["]", null];
    this.position += 1;
    this.space();
    if (this.text[this.position] === last) {
      this.position += 1;
      this.lines.push(first + last);
      return;
    }
    for (let before = first; ; before = ",") {
      this.lines.push(`${before}\n${INDENT.repeat(depth)}`);
      if (keys) this.key(keys);
      this.value(depth);
      this.space();
      const next = this.text[this.position];
      if (next !== "," && next !== last) this.fail(`',' or '${last}' is missing`);
      this.position += 1;
      if (next === last) break;
      this.space();
    }
    this.lines.push(`\n${INDENT.repeat(depth - 1)}${last}`);
  }

  key(keys) {
    if (this.text[this.position] !== '"') this.fail("a key is missing");
    const token = this.string();
    const name = JSON.parse(token);
    if (keys.has(name)) this.fail(`the key ${visible(token).slice(0, 80)} stands twice in one object`);
    keys.add(name);
    this.space();
    if (this.text[this.position] !== ":") this.fail("':' is missing");
    this.position += 1;
    this.space();
    this.lines.push(`${visible(token)}: `);
  }

  string() {
    const token = this.token(STRING) ?? this.fail("a string does not end, or holds what no string can");
    const value = token.includes("\\") ? JSON.parse(token) : token;
    if (value.includes("\0")) this.fail("it holds a NUL character");
    if (/\p{Surrogate}/u.test(value)) this.fail("it has a lone surrogate");
    return token;
  }

  number() {
    const token = this.token(NUMBER) ?? this.fail("there is no value");
    if (/[.eE]/.test(token)) {
      if (!Number.isFinite(Number(token))) this.fail(`the number ${token.slice(0, 40)} is too large`);
    } else if (token.length > INTEGER_DIGITS || BigInt(token) < MIN_INTEGER || BigInt(token) > MAX_INTEGER) {
      this.fail(`the integer ${token.slice(0, 40)} is outside 64 bits`);
    }
    return token;
  }

  space() {
    this.token(SPACE);
  }

  token(pattern) {
    pattern.lastIndex = this.position;
    const match = pattern.exec(this.text);
    if (match === null) return undefined;
    this.position = pattern.lastIndex;
    return match[0];
  }
}

function hex4(code) {
  return code.toString(16).padStart(4, "0");
}

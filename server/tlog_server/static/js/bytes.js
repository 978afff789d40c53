/**
 * Bytes and text: one accepted spelling of base64, hex, decimals and UTF-8, and nothing else.
 *
 * Two spellings of one value are two different signed texts, so a parser takes one and refuses the rest.
 * Source: RFC 4648 section 4; c2sp.org/signed-note; c2sp.org/tlog-checkpoint (decimals without leading zeros).
 */

import { FormatError, shown } from "./errors.js";

/** The largest size or index that a Number holds exactly; larger ones are refused, not rounded. */
export const MAX_NUMBER = Number.MAX_SAFE_INTEGER;

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const DECIMAL = /^(?:0|[1-9][0-9]{0,19})$/;
const LONE_SURROGATE = /\p{Surrogate}/u;
const CHUNK = 0x2000;

/** The UTF-8 bytes of a text. Throws: FormatError for lone surrogates. */
export function utf8(text, what = "text") {
  if (LONE_SURROGATE.test(text)) throw new FormatError(what, "it is not valid Unicode");
  return new TextEncoder().encode(text);
}

/** The text of UTF-8 bytes; a byte order mark stays. Throws: FormatError. */
export function decodeUtf8(bytes, what) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new FormatError(what, "it is not UTF-8");
  }
}

/**
 * The bytes that canonical standard base64 with padding spells.
 * @param {string} text
 * @param {string} what names it in errors
 * @param {number} [length] the exact number of bytes that is expected
 * @returns {Uint8Array}
 */
export function decodeBase64(text, what, length) {
  if (!BASE64.test(text)) throw new FormatError(what, `${shown(text, 40)} is not standard base64`);
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  if (encodeBase64(bytes) !== text) throw new FormatError(what, `${shown(text, 40)} is not canonical base64`);
  if (length !== undefined && bytes.length !== length) {
    throw new FormatError(what, `it holds ${bytes.length} bytes, not ${length}`);
  }
  return bytes;
}

/** Standard base64 with padding, without line breaks. */
export function encodeBase64(bytes) {
  let binary = "";
  for (let start = 0; start < bytes.length; start += CHUNK) {
    binary += String.fromCharCode(...bytes.subarray(start, start + CHUNK));
  }
  return btoa(binary);
}

/** Lower case hex. */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes that lower case hex spells. Throws: FormatError. */
export function fromHex(text, what, length) {
  if (!/^(?:[0-9a-f]{2})*$/.test(text)) throw new FormatError(what, `${shown(text, 40)} is not lower case hex`);
  const bytes = Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  if (length !== undefined && bytes.length !== length) {
    throw new FormatError(what, `it holds ${bytes.length} bytes, not ${length}`);
  }
  return bytes;
}

/**
 * The number that canonical ASCII decimal spells: no sign, space or leading zero, at most 2^53 - 1.
 * @returns {number}
 */
export function parseDecimal(text, what, maximum = MAX_NUMBER) {
  if (!DECIMAL.test(text)) {
    throw new FormatError(what, `${shown(text, 40)} is not a decimal number without sign, spaces or leading zeros`);
  }
  const value = Number(text);
  if (value > maximum) {
    const why = maximum === MAX_NUMBER ? ", beyond which browsers do not count exactly" : "";
    throw new FormatError(what, `${text} is larger than ${maximum}${why}`);
  }
  return value;
}

/** `value` if it is a whole number in [minimum, maximum]. Throws: FormatError. */
export function requireInteger(value, what, minimum = 0, maximum = MAX_NUMBER) {
  if (!Number.isSafeInteger(value)) throw new FormatError(what, "a whole number below 2^53 is needed");
  if (value < minimum || value > maximum) {
    throw new FormatError(what, `${value} is outside ${minimum} to ${maximum}`);
  }
  return value;
}

/** The bytes of a text, or the bytes themselves. Throws: FormatError where there are more than `limit`. */
export function bytesOf(input, what, limit) {
  if (input.length > limit) throw new FormatError(what, `it is longer than ${limit} bytes`);
  const bytes = typeof input === "string" ? utf8(input, what) : input;
  if (bytes.length > limit) throw new FormatError(what, `it is longer than ${limit} bytes`);
  return bytes;
}

/** All the bytes, one part after another. */
export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let start = 0;
  for (const part of parts) {
    whole.set(part, start);
    start += part.length;
  }
  return whole;
}

/** Whether two byte strings are the same. */
export function equal(one, other) {
  return one.length === other.length && one.every((byte, place) => byte === other[place]);
}

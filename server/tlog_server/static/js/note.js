/**
 * Signed notes, verifier keys, and the signature lines of logs and witnesses.
 *
 * What an untrusted note says means nothing: `openNote` is the way in, and it wants the keys that its caller trusts.
 * Source: c2sp.org/signed-note; c2sp.org/tlog-cosignature.
 */

import { bytesOf, concat, decodeBase64, decodeUtf8, equal, toHex, utf8 } from "./bytes.js";
import { FormatError, VerifyError, shown } from "./errors.js";
import { sha256, verifyEd25519 } from "./hash.js";

/** Bytes of a signed note, and signature lines of it. */
export const MAX_NOTE_SIZE = 1 << 20;
export const MAX_SIGNATURES = 100;

/** Signature types. */
export const ED25519_NOTE = 0x01;
export const ED25519_COSIGNATURE = 0x04;
export const ML_DSA_44_COSIGNATURE = 0x06;

const MAX_VKEY_LENGTH = 4096;
const KEY_SIZES = new Map([[ED25519_NOTE, 32], [ED25519_COSIGNATURE, 32], [ML_DSA_44_COSIGNATURE, 1312]]);
const LINE_START = "\u2014 ";
const CONTROL = /[\x00-\x09\x0b-\x1f]/;
// What Go's unicode.IsSpace takes for white space; a line of a note has no other separator than the plain space.
const NOT_IN_NAME = /[\x00-\x20+\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
const VKEY = /^([^+]*)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]*)$/;

// The y coordinates of the points whose order divides 8: under such a key almost any message has a signature that
// nobody made. Source: RFC 8032 section 5.1; the points follow from 8P = 0.
const FIELD_PRIME = 2n ** 255n - 19n;
const ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022n;
const SMALL_ORDER_Y = new Set([0n, 1n, FIELD_PRIME - 1n, ORDER_8_Y, FIELD_PRIME - ORDER_8_Y]);

/**
 * @typedef {object} VerifierKey
 * @property {string} name for a log's key the log's origin
 * @property {Uint8Array} keyId 4 bytes
 * @property {number} keyType ED25519_NOTE, ED25519_COSIGNATURE or ML_DSA_44_COSIGNATURE
 * @property {Uint8Array} publicKey 32 bytes, or 1,312 of ML-DSA-44
 * @property {string} text the vkey as it was given
 *
 * @typedef {object} NoteSignature unverified
 * @property {string} name
 * @property {Uint8Array} keyId 4 bytes
 * @property {Uint8Array} signature one byte or more
 *
 * @typedef {object} Note unverified
 * @property {Uint8Array} text what is signed, with its last newline
 * @property {NoteSignature[]} signatures 1 to 100
 * @property {string} raw the whole
 *
 * @typedef {object} OpenedNote
 * @property {Note} note
 * @property {VerifierKey[]} verified known keys that signed, each once, in the order of the lines; never empty
 * @property {VerifierKey[]} unchecked known keys whose lines browsers cannot check (ML-DSA-44): they count for nothing
 * @property {number} ignored how many lines are of keys that nobody here trusts
 */

/**
 * The key that a vkey spells: `<name>+<8 hex digits>+<base64 of type and public key>`.
 * @param {string} text without a newline
 * @returns {Promise<VerifierKey>} Throws: FormatError, also where the key ID is not that of name and key.
 */
export async function parseVkey(text) {
  if (text.length > MAX_VKEY_LENGTH) throw new FormatError("vkey", `it is longer than ${MAX_VKEY_LENGTH} characters`);
  const match = VKEY.exec(text);
  if (match === null) {
    throw new FormatError("vkey", `${shown(text)} is not <name>+<8 lowercase hex digits>+<base64>`);
  }
  const [, name, id, encoded] = match;
  const material = decodeBase64(encoded, "vkey");
  if (material.length === 0) throw new FormatError("vkey", "it holds no key");
  const digest = await sha256(concat(utf8(`${checkName(name)}\n`, "vkey"), material));
  const keyId = digest.subarray(0, 4);
  if (toHex(keyId) !== id) throw new FormatError("vkey", `its key ID is ${id}, but name and key give ${toHex(keyId)}`);
  const [keyType, publicKey] = [material[0], material.subarray(1)];
  checkPublicKey(keyType, publicKey);
  return { name, keyId, keyType, publicKey, text };
}

/** How a key is named for people: name and key ID. */
export function keyLabel(key) {
  return `${key.name}+${toHex(key.keyId)}`;
}

/**
 * The parts of a signed note. Nothing is verified.
 * @param {string | Uint8Array} input at most 1 MiB
 * @returns {Note} Throws: FormatError for whatever is not a note in its one spelling.
 */
export function parseNote(input) {
  const raw = decodeUtf8(bytesOf(input, "note", MAX_NOTE_SIZE), "note");
  const split = raw.lastIndexOf("\n\n");
  if (split < 0) throw new FormatError("note", "it has no blank line between text and signatures");
  if (!raw.endsWith("\n")) throw new FormatError("note", "its last line does not end in a newline");
  const lines = raw.slice(split + 2).split("\n", MAX_SIGNATURES + 2).slice(0, -1);
  if (lines.length < 1 || lines.length > MAX_SIGNATURES) {
    throw new FormatError("note", `1 to ${MAX_SIGNATURES} signature lines are possible`);
  }
  const text = raw.slice(0, split + 1);
  if (CONTROL.test(text)) throw new FormatError("note text", "it holds a control character");
  return { text: utf8(text), signatures: lines.map(parseSignature), raw };
}

/**
 * Verify a signed note under the keys that the caller trusts. Lines of unknown keys are ignored, also where the name or
 * the ID alone is a known key's; every line of a known key must verify; several lines of one key count once.
 * @param {string | Uint8Array | Note} note
 * @param {VerifierKey | VerifierKey[]} keys
 * @returns {Promise<OpenedNote>} Throws: FormatError, VerifyError "signature", "unsigned" or "unsupported".
 */
export async function openNote(note, keys) {
  const known = [keys].flat();
  known.forEach((key, place) => {
    const twin = known.slice(0, place).find((other) => isOf(other, key));
    if (twin && twin.text !== key.text) throw new FormatError("known keys", `two keys are both ${keyLabel(key)}`);
  });
  const parsed = typeof note === "string" || note instanceof Uint8Array ? parseNote(note) : note;
  const [verified, unchecked] = [new Set(), new Set()];
  let ignored = 0;
  for (const line of parsed.signatures) {
    const key = known.find((each) => isOf(line, each));
    if (key === undefined) {
      ignored += 1;
    } else if (key.keyType === ML_DSA_44_COSIGNATURE) {
      unchecked.add(key);
    } else {
      await verifyLine(key, parsed.text, line);
      verified.add(key);
    }
  }
  if (verified.size === 0) {
    if (unchecked.size > 0) throw uncheckable([...unchecked]);
    const found = parsed.signatures.slice(0, 3).map(keyLabel).join(", ");
    const expected = known.slice(0, 3).map(keyLabel).join(", ");
    throw new VerifyError("unsigned", "No key that you trust has signed this.", { expected, found });
  }
  return { note: parsed, verified: [...verified], unchecked: [...unchecked], ignored };
}

/** The error for what only keys have signed whose signatures browsers cannot check. */
export function uncheckable(keys) {
  const signers = keys.map(keyLabel).join(", ");
  const message = `Browsers cannot check the ML-DSA-44 signature of ${signers}. Use the command tlog-verify.`;
  return new VerifyError("unsupported", message);
}

async function verifyLine(key, text, line) {
  const isCosignature = key.keyType === ED25519_COSIGNATURE;
  const size = isCosignature ? 72 : 64;
  const signature = line.signature.slice(size - 64);
  const message = isCosignature && line.signature.length === size ? cosignedMessage(text, line.signature) : text;
  if (line.signature.length !== size || message === null || !(await verifyEd25519(key.publicKey, message, signature))) {
    throw new VerifyError("signature", `The signature of ${keyLabel(key)} does not verify.`, { found: keyLabel(key) });
  }
}

/** What an Ed25519 cosigner signs; null for a time of 0 or past 2^63 - 1. Source: tlog-cosignature, "Ed25519 ...". */
function cosignedMessage(text, payload) {
  const timestamp = new DataView(payload.buffer, payload.byteOffset, 8).getBigUint64(0);
  if (timestamp === 0n || timestamp >= 2n ** 63n) return null;
  return concat(utf8(`cosignature/v1\ntime ${timestamp}\n`), text);
}

function parseSignature(line) {
  const space = line.indexOf(" ", LINE_START.length);
  if (!line.startsWith(LINE_START) || space < 0) {
    throw new FormatError("note", `${shown(line)} is not a signature line`);
  }
  const name = checkName(line.slice(LINE_START.length, space));
  const raw = decodeBase64(line.slice(space + 1), "note signature");
  if (raw.length < 5) throw new FormatError("note signature", "a key ID of 4 bytes and a signature are needed");
  return { name, keyId: raw.slice(0, 4), signature: raw.slice(4) };
}

function checkName(name) {
  if (name === "") throw new FormatError("key name", "it is empty");
  if (NOT_IN_NAME.test(name)) {
    throw new FormatError("key name", `${shown(name)} holds white space, '+' or a control character`);
  }
  return name;
}

function checkPublicKey(keyType, publicKey) {
  const size = KEY_SIZES.get(keyType);
  if (size === undefined) throw new FormatError("vkey", `signature type ${keyType} is not supported`);
  if (publicKey.length !== size) throw new FormatError("vkey", `its public key has ${publicKey.length} bytes`);
  if (keyType === ML_DSA_44_COSIGNATURE) return;
  const y = BigInt(`0x${toHex(publicKey.slice().reverse())}`) & (2n ** 255n - 1n);
  if (SMALL_ORDER_Y.has(y % FIELD_PRIME)) {
    throw new FormatError("vkey", "its public key is a point of small order, under which anybody can sign");
  }
}

function isOf(line, key) {
  return line.name === key.name && equal(line.keyId, key.keyId);
}

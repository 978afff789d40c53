/**
 * SHA-256 and Ed25519 of the browser (WebCrypto), and whether it has them at all.
 *
 * A leaf hash is SHA-256(0x00 || leaf data), an interior node SHA-256(0x01 || left || right); the prefixes keep a leaf
 * from ever passing for a node. Source: RFC 6962 section 2.1; RFC 8032 section 5.1.7; W3C Web Cryptography Level 2.
 */

import { concat, fromHex, toHex } from "./bytes.js";
import { VerifyError } from "./errors.js";

export const HASH_SIZE = 32;

/** The root hash of the empty tree: SHA-256 of nothing. */
export const EMPTY_ROOT = fromHex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "empty root", 32);

const LEAF_PREFIX = Uint8Array.of(0);
const NODE_PREFIX = Uint8Array.of(1);

// RFC 8032 section 7.1, test 2.
const KNOWN_KEY = fromHex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "known key", 32);
const KNOWN_MESSAGE = Uint8Array.of(0x72);
const KNOWN_SIGNATURE = fromHex(
  "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da" +
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  "known signature",
  64,
);

/** The 32-byte SHA-256 hash of bytes. Throws: VerifyError "unsupported". */
export async function sha256(bytes) {
  return new Uint8Array(await subtle().digest("SHA-256", bytes));
}

/** The 32-byte leaf hash of an entry's bytes. */
export function leafHash(leafData) {
  return sha256(concat(LEAF_PREFIX, leafData));
}

/** The 32-byte hash of the interior node over two hashes. */
export function nodeHash(left, right) {
  return sha256(concat(NODE_PREFIX, left, right));
}

/**
 * The rows of a perfect tree over hashes: row 0 the hashes, each further row the complete parents.
 * @param {Uint8Array[]} hashes one or more
 * @returns {Promise<Uint8Array[][]>} Cost: one SHA-256 call less than there are hashes.
 */
export async function parentRows(hashes) {
  const rows = [hashes];
  for (let row = hashes; row.length > 1; rows.push(row)) {
    const pairs = [];
    for (let place = 0; place + 1 < row.length; place += 2) pairs.push(nodeHash(row[place], row[place + 1]));
    row = await Promise.all(pairs);
  }
  return rows;
}

/**
 * Whether an Ed25519 signature verifies.
 * @param {Uint8Array} publicKey 32 bytes
 * @param {Uint8Array} message
 * @param {Uint8Array} signature 64 bytes
 * @returns {Promise<boolean>} Throws: VerifyError "unsupported" where the browser cannot tell.
 */
export async function verifyEd25519(publicKey, message, signature) {
  await requireCryptography();
  return tryEd25519(publicKey, message, signature);
}

let examined;

/**
 * Make sure that this browser can verify: it hashes and verifies right, and refuses what is wrong.
 * @returns {Promise<void>} Throws: VerifyError "unsupported" with the reason in plain words.
 */
export async function requireCryptography() {
  examined ??= examine();
  const reason = await examined;
  if (reason !== null) throw new VerifyError("unsupported", reason);
}

async function examine() {
  const root = await sha256(new Uint8Array());
  if (toHex(root) !== toHex(EMPTY_ROOT)) return "Cannot verify in this browser: its SHA-256 gives a wrong result.";
  const isRight = await tryEd25519(KNOWN_KEY, KNOWN_MESSAGE, KNOWN_SIGNATURE);
  const isLax = await tryEd25519(KNOWN_KEY, LEAF_PREFIX, KNOWN_SIGNATURE);
  if (isRight && !isLax) return null;
  return (
    "Cannot verify in this browser: it has no Ed25519 signatures (WebCrypto). Use a current Chrome, Edge, Firefox or " +
    "Safari, or the command tlog-verify."
  );
}

async function tryEd25519(publicKey, message, signature) {
  try {
    const key = await subtle().importKey("raw", publicKey, { name: "Ed25519" }, false, ["verify"]);
    return (await subtle().verify({ name: "Ed25519" }, key, signature, message)) === true;
  } catch (error) {
    // A point that is none, or an algorithm that the browser lacks: what the examination found out tells which.
    return false;
  }
}

function subtle() {
  const found = globalThis.crypto?.subtle;
  if (found) return found;
  throw new VerifyError(
    "unsupported",
    "Cannot verify in this browser: cryptography is switched off for pages that do not come over HTTPS. Open this " +
      "page with https://, from localhost, or as a file.",
  );
}

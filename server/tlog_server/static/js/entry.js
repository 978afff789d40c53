/**
 * Entries: one line of JSON each, hashed as it stands and chained to the one before.
 *
 *     {"seq":0,"ts":"<time>","partition":"p","prev_hash":"<64 hex>","data":<JSON>,"hash":"<64 hex>"}
 *
 * The line's bytes are the truth: `hash` is SHA-256 over all but the last 75 of them, and the leaf data of the tree is
 * the line without its newline. Source: docs/formats.md, "Entry".
 */

import { decodeUtf8, fromHex, parseDecimal, toHex } from "./bytes.js";
import { FormatError, VerifyError, shown } from "./errors.js";
import { sha256 } from "./hash.js";
import { endOfJson, prettyJson } from "./jsontext.js";

export const MAX_ENTRY_SIZE = 65535;

const TAIL_SIZE = ',"hash":"'.length + 64 + '"}'.length;
const LINE = new RegExp(
  '^\\{"seq":(0|[1-9][0-9]{0,18}),"ts":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z)"' +
    ',"partition":"([a-z0-9][a-z0-9._-]{0,63})","prev_hash":"([0-9a-f]{64})"' +
    ',((?:"meta":|"data":).+),"hash":"([0-9a-f]{64})"\\}$',
  "s",
);
const META_KEY = '"meta":';
const DATA_KEY = '"data":';

/**
 * @typedef {object} Entry
 * @property {number} seq zero-based position in the partition, the leaf index
 * @property {string} ts UTC time of sequencing by the log's clock
 * @property {string} partition
 * @property {Uint8Array} prevHash 32 bytes
 * @property {Uint8Array} hash 32 bytes, recomputed from the line
 * @property {string | null} meta JSON text: what the log attests about the submission
 * @property {string} data JSON text: what was submitted, as it stands
 * @property {string} prettyData the same laid out for reading, hidden characters spelled out
 * @property {string | null} prettyMeta
 */

/**
 * The entry that a line, without its newline, spells. Call this on bytes that were proved only.
 * @param {Uint8Array} raw
 * @returns {Promise<Entry>} Throws: FormatError where it is no entry; VerifyError "chain" where its hash is not the hash
 *   of its bytes.
 */
export async function parseEntry(raw) {
  if (raw.length > MAX_ENTRY_SIZE) throw new FormatError("entry", `it has ${raw.length} bytes`);
  const text = decodeUtf8(raw, "entry");
  const match = text.includes("\n") ? null : LINE.exec(text);
  if (match === null) throw new FormatError("entry", `${shown(text)} is not a line of a partition`);
  const [, seq, ts, partition, prev, payload, claimed] = match;
  const hash = await sha256(raw.subarray(0, raw.length - TAIL_SIZE));
  if (toHex(hash) !== claimed) {
    throw new VerifyError("chain", "The entry's own hash is not the hash of its bytes.", {
      expected: toHex(hash),
      found: claimed,
    });
  }
  const { meta, data } = splitPayload(payload);
  return {
    seq: parseDecimal(seq, "entry seq"),
    ts,
    partition,
    prevHash: fromHex(prev, "prev_hash", 32),
    hash,
    meta,
    data,
    prettyMeta: meta === null ? null : prettyJson(meta, "meta"),
    prettyData: prettyJson(data, "data"),
  };
}

/** Meta and data, as JSON text. Where meta ends follows from reading it. */
function splitPayload(payload) {
  if (payload.startsWith(DATA_KEY)) return { meta: null, data: payload.slice(DATA_KEY.length) };
  const start = META_KEY.length;
  const end = endOfJson(payload, start, "meta");
  const meta = payload.slice(start, end);
  if (!/^\{./s.test(meta) || meta === "{}" || !payload.startsWith(`,${DATA_KEY}`, end)) {
    throw new FormatError("meta", "it is not followed by data, or is not as the log writes it");
  }
  return { meta, data: payload.slice(end + 1 + DATA_KEY.length) };
}

/**
 * The JavaScript library behind a pipe: one JSON object a line in, one out, so that Python can compare what both say.
 *
 * In: {kind, input: base64, ...}. Out: {value} where the input is accepted, {refused: kind of error} where it is not.
 */

import { createInterface } from "node:readline";

import { decodeBase64, decodeUtf8, encodeBase64, toHex } from "../../server/tlog_server/static/js/bytes.js";
import { parseCheckpoint } from "../../server/tlog_server/static/js/checkpoint.js";
import { parseEntry } from "../../server/tlog_server/static/js/entry.js";
import { FormatError, VerifyError } from "../../server/tlog_server/static/js/errors.js";
import { prettyJson, visible } from "../../server/tlog_server/static/js/jsontext.js";
import { openNote, parseNote, parseVkey } from "../../server/tlog_server/static/js/note.js";
import { authenticate, parsePolicy, requireQuorum } from "../../server/tlog_server/static/js/policy.js";
import { decodeBundle, parseTilePath, rootFromConsistency, rootFromInclusion } from "../../server/tlog_server/static/js/tree.js";
import { parseConsistencyProof, parseProof } from "../../server/tlog_server/static/js/tlogproof.js";
import { verifyProof } from "../../server/tlog_server/static/js/verify.js";

const noteOf = ({ text, signatures }) => ({
  text: encodeBase64(text),
  signatures: signatures.map(({ name, keyId, signature }) => [name, toHex(keyId), encodeBase64(signature)]),
});
const checkpointOf = ({ origin, treeSize, rootHash, extensions, note }) => ({
  origin,
  tree_size: treeSize,
  root_hash: toHex(rootHash),
  extensions,
  ...noteOf(note),
});
const octets = (name) => toHex(Uint8Array.from(name, (character) => character.charCodeAt(0)));

const ANSWERS = {
  note: (input) => noteOf(parseNote(input)),
  checkpoint: (input) => checkpointOf(parseCheckpoint(input)),
  vkey: async (input) => {
    const { name, keyId, keyType, publicKey } = await parseVkey(decodeUtf8(input, "vkey"));
    return [name, toHex(keyId), keyType, toHex(publicKey)];
  },
  policy: async (input) => {
    const { logs, witnesses, groups, quorum } = await parsePolicy(input);
    return {
      logs: logs.map(({ text }) => text),
      witnesses: witnesses.map(({ name, key }) => [octets(name), key.text]),
      groups: groups.map(({ name, threshold, members }) => [octets(name), threshold, members.map(octets)]),
      quorum: octets(quorum),
    };
  },
  "tlog-proof": (input) => {
    const { leafIndex, hashes, checkpoint, extra } = parseProof(input);
    return [leafIndex, hashes.map(toHex), extra === null ? null : toHex(extra), checkpointOf(checkpoint)];
  },
  "consistency-proof": (input) => {
    const { oldSize, hashes, checkpoint } = parseConsistencyProof(input);
    return [oldSize, hashes.map(toHex), checkpointOf(checkpoint)];
  },
  "entry-line": async (input) => {
    const { seq, ts, partition, prevHash, hash, data, meta } = await parseEntry(input);
    return [seq, ts, partition, toHex(prevHash), toHex(hash), data, meta];
  },
  "raw-json": (input) => {
    const text = decodeUtf8(input, "data");
    prettyJson(text);
    return text;
  },
  "tile-path": (input) => parseTilePath(decodeUtf8(input, "path")),
  bundle: (input, { width }) => decodeBundle(input, width).map(toHex),
  visible: (input) => visible(decodeUtf8(input, "text")),
  open: async (input, { keys }) => {
    const opened = await openNote(input, await Promise.all(keys.map(parseVkey)));
    return opened.verified.map(({ text }) => text);
  },
  valid: async (input, { policy }) => {
    const trusted = await parsePolicy(policy);
    const signed = await authenticate(trusted, parseCheckpoint(input));
    requireQuorum(trusted, signed);
    return [signed.logKey.text, signed.met, signed.missing];
  },
  verify: async (input, { policy }) => {
    const { index, entry, checkpoint } = await verifyProof(input, policy);
    return [index, toHex(entry.hash), checkpoint.treeSize];
  },
  inclusion: async (input, { index, size, hashes }) => toHex(await rootFromInclusion(input, index, size, hashes.map(decode))),
  consistency: async (input, { old, size, hashes }) => {
    const { oldRoot, newRoot } = await rootFromConsistency(old, size, input, hashes.map(decode));
    return [toHex(oldRoot), toHex(newRoot)];
  },
};

function decode(text) {
  return decodeBase64(text, "input");
}

async function answer({ kind, input, ...rest }) {
  try {
    return { value: await ANSWERS[kind](decode(input), rest) };
  } catch (error) {
    if (error instanceof VerifyError) return { refused: error.kind };
    if (!(error instanceof FormatError)) return { defect: error.stack };
    return { refused: error.message.includes("do not count exactly") ? "inexact" : "format" };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}

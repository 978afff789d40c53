/**
 * Trust policies: which logs are believed, and which witnesses must have cosigned what they sign.
 *
 * A checkpoint is valid under a policy if one of its logs signed it, the key name being the checkpoint's origin, and the
 * quorum's witnesses cosigned it. Names are octets: here a character each, 0 to 255. Source: c2sp.org/tlog-policy.
 */

import { bytesOf, decodeUtf8, equal, parseDecimal } from "./bytes.js";
import { FormatError, VerifyError, shown } from "./errors.js";
import {
  ED25519_COSIGNATURE,
  ED25519_NOTE,
  ML_DSA_44_COSIGNATURE,
  keyLabel,
  openNote,
  parseVkey,
  uncheckable,
} from "./note.js";

const MAX_POLICY_SIZE = 1 << 20;
const MAX_ITEMS = 1000;
const NO_QUORUM = "none";
const FORBIDDEN = /[^\t\n\x20-\x7e\x80-\xff]/;
const FIRST_LINE = /^[ \t]*(?:#|(?:log|witness|group|quorum)[ \t])/;
const LOG_TYPES = [ED25519_NOTE, ML_DSA_44_COSIGNATURE];
const WITNESS_TYPES = [ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE];
const FORMS = {
  log: "log <vkey> [<url>]",
  witness: "witness <name> <vkey> [<url>]",
  group: "group <name> all|any|<k> <member>...",
  quorum: "quorum <name>|none",
};

/**
 * @typedef {object} Policy make one with `parseTrust`, `parsePolicy` or `policyForLog`
 * @property {import("./note.js").VerifierKey[]} logs
 * @property {{name: string, key: import("./note.js").VerifierKey}[]} witnesses
 * @property {{name: string, threshold: number, members: string[]}[]} groups
 * @property {string} quorum the name of a witness or group, or "none"
 *
 * @typedef {object} SignedCheckpoint a checkpoint that a log of the policy signed
 * @property {import("./checkpoint.js").Checkpoint} checkpoint
 * @property {import("./note.js").VerifierKey} logKey
 * @property {string[]} met names of the witnesses whose cosignatures were verified
 * @property {string[]} missing names of the others
 * @property {string[]} unchecked of the missing ones those with a cosignature that browsers cannot check (ML-DSA-44)
 * @property {string[]} uncheckedLogs keys of the log with a signature that browsers cannot check
 * @property {string} quorum in words
 * @property {number} ignored signature lines of keys that the policy does not name
 */

/**
 * What a user gave as whom to trust: a vkey, the content of a `.vkey` file, or a policy.
 * @param {string | Uint8Array} input
 * @returns {Promise<Policy>} Throws: FormatError.
 */
export async function parseTrust(input) {
  const raw = bytesOf(input, "verifier key or policy", MAX_POLICY_SIZE);
  const isPolicy = raw.subarray(0, -1).includes(10) || FIRST_LINE.test(octets(raw));
  if (isPolicy) return parsePolicy(raw);
  return policyForLog(decodeUtf8(raw, "vkey").replace(/\n$/, ""));
}

/** The policy that believes one log and asks for no cosignature. Throws: FormatError. */
export async function policyForLog(vkey) {
  const rules = new Rules();
  await rules.addKey(rules.logs, await parseVkey(vkey), LOG_TYPES, "log");
  return { logs: rules.logs.map(({ key }) => key), witnesses: [], groups: [], quorum: NO_QUORUM };
}

/**
 * The policy that a text spells. Every line ends in a newline, the last one too: a policy whose end was cut off could
 * name a weaker quorum.
 * @param {string | Uint8Array} input
 * @returns {Promise<Policy>} Throws: FormatError with the line's number.
 */
export async function parsePolicy(input) {
  const lines = octets(bytesOf(input, "policy", MAX_POLICY_SIZE)).split("\n");
  const rules = new Rules();
  if (lines.pop() !== "") throw new FormatError("policy", "its last line does not end in a newline: it may be cut off");
  for (const [place, line] of lines.entries()) {
    rules.what = `policy line ${place + 1}`;
    if (FORBIDDEN.test(line)) throw new FormatError(rules.what, "it holds an octet that is not allowed");
    const words = line.replace(/^[ \t]+|[ \t]+$/g, "").split(/[ \t]+/);
    if (words[0] !== "" && !words[0].startsWith("#")) await rules.addLine(...words);
  }
  if (rules.quorum === null) {
    throw new FormatError("policy", "it has no quorum line; 'quorum none' asks for no cosignature");
  }
  const { logs, witnesses, groups, quorum } = rules;
  return { logs: logs.map(({ key }) => key), witnesses, groups, quorum };
}

/**
 * Check that a log of the policy signed a checkpoint, and which witnesses cosigned it; the quorum is not asked for.
 * @param {Policy} policy
 * @param {import("./checkpoint.js").Checkpoint} checkpoint
 * @returns {Promise<SignedCheckpoint>} Throws: VerifyError "wrong-origin", "signature", "unsigned".
 */
export async function authenticate(policy, checkpoint) {
  const logKeys = policy.logs.filter((key) => key.name === checkpoint.origin);
  if (logKeys.length === 0) {
    throw new VerifyError("wrong-origin", "The checkpoint is of another log than the one that you trust.", {
      expected: policy.logs.slice(0, 3).map((key) => key.name).join(" or ") || "a log, but the policy lists none",
      found: checkpoint.origin,
    });
  }
  const keys = [...policy.logs, ...policy.witnesses.map(({ key }) => key)];
  const { verified, unchecked, ignored } = await openNote(checkpoint.note, keys);
  const logKey = verified.find((key) => logKeys.includes(key));
  const uncheckedLogs = logKeys.filter((key) => unchecked.includes(key));
  if (logKey === undefined) {
    if (uncheckedLogs.length > 0) throw uncheckable(uncheckedLogs);
    const expected = logKeys.map(keyLabel).join(" or ");
    const message = `No key of the log ${checkpoint.origin} has signed the checkpoint.`;
    throw new VerifyError("unsigned", message, { expected });
  }
  const names = (isWanted) => policy.witnesses.filter(({ key }) => isWanted(key)).map(({ name }) => name);
  return {
    checkpoint,
    logKey,
    met: names((key) => verified.includes(key)),
    missing: names((key) => !verified.includes(key)),
    unchecked: names((key) => unchecked.includes(key)),
    uncheckedLogs: uncheckedLogs.map(keyLabel),
    quorum: quorumInWords(policy),
    ignored,
  };
}

/** Check that the policy's quorum has cosigned what `authenticate` gave. Throws: VerifyError "quorum". */
export function requireQuorum(policy, signed) {
  const met = new Set(signed.met);
  for (const { name, threshold, members } of policy.groups) {
    if (members.filter((member) => met.has(member)).length >= threshold) met.add(name);
  }
  if (policy.quorum === NO_QUORUM || met.has(policy.quorum)) return;
  const unchecked = signed.unchecked.map(named).join(", ");
  const hint = unchecked === "" ? "" : ` Not checked in browsers: ${unchecked}.`;
  throw new VerifyError("quorum", `The policy's quorum has not cosigned this checkpoint.${hint}`, {
    expected: signed.quorum,
    found: signed.met.map(named).join(", ") || "nobody",
  });
}

/** A name of a policy for people. */
export function named(name) {
  try {
    return decodeUtf8(Uint8Array.from(name, (character) => character.charCodeAt(0)), "name");
  } catch (error) {
    return name;
  }
}

function quorumInWords({ quorum, groups }) {
  if (quorum === NO_QUORUM) return "none, no cosignature is asked for";
  const group = groups.find(({ name }) => name === quorum);
  if (group === undefined) return named(quorum);
  return `${named(quorum)}, ${group.threshold} of ${group.members.length}: ${group.members.map(named).join(", ")}`;
}

function octets(bytes) {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

/** The rules of the specification, applied line by line. what: the place that errors name. */
class Rules {
  what = "policy";
  logs = [];
  witnesses = [];
  groups = [];
  quorum = null;
  #names = new Set();
  #members = new Set();

  async addLine(keyword, ...words) {
    if (keyword === "log" && words.length >= 1 && words.length <= 2) {
      await this.addKey(this.logs, await this.#key(words[0]), LOG_TYPES, "log");
    } else if (keyword === "witness" && words.length >= 2 && words.length <= 3) {
      this.#addName(words[0]);
      await this.addKey(this.witnesses, await this.#key(words[1]), WITNESS_TYPES, "witness", words[0]);
    } else if (keyword === "group" && words.length >= 3) {
      this.#addGroup(...words);
    } else if (keyword === "quorum" && words.length === 1) {
      this.#setQuorum(words[0]);
    } else {
      const form = Object.hasOwn(FORMS, keyword) ? `the form is: ${FORMS[keyword]}` : `${shown(keyword)} is no keyword`;
      throw new FormatError(this.what, form);
    }
  }

  async addKey(items, key, types, role, name = key.name) {
    this.#checkCount(items);
    if (!types.includes(key.keyType)) {
      throw new FormatError(this.what, `a ${role} needs a key of another signature type`);
    }
    if (items.some((item) => equal(item.key.publicKey, key.publicKey))) {
      throw new FormatError(this.what, `the public key of ${key.name} belongs to a ${role} already`);
    }
    const isTwin = (item) => item.key.name === key.name && equal(item.key.keyId, key.keyId);
    if ([...this.logs, ...this.witnesses].some(isTwin)) {
      throw new FormatError(this.what, `another key is ${keyLabel(key)} already`);
    }
    items.push({ name, key });
  }

  #addGroup(name, threshold, ...members) {
    this.#checkCount(this.groups);
    const shorthand = new Map([["any", 1], ["all", members.length]]);
    const number = shorthand.get(threshold) ?? parseDecimal(threshold, `${this.what}: threshold`, members.length);
    if (number < 1) throw new FormatError(this.what, "the threshold is 1 at least");
    for (const member of members) {
      if (!this.#names.has(member)) {
        throw new FormatError(this.what, `${shown(member)} is not defined on a line before`);
      }
      if (this.#members.has(member)) throw new FormatError(this.what, `${shown(member)} is a member already`);
      this.#members.add(member);
    }
    this.#addName(name);
    this.groups.push({ name, threshold: number, members });
  }

  #setQuorum(name) {
    if (this.quorum !== null) throw new FormatError(this.what, "this is a second quorum line");
    if (name !== NO_QUORUM && !this.#names.has(name)) {
      throw new FormatError(this.what, `the quorum ${shown(name)} is not defined on a line before`);
    }
    this.quorum = name;
  }

  #addName(name) {
    if (name === NO_QUORUM) throw new FormatError(this.what, `the name ${NO_QUORUM} is reserved`);
    if (this.#names.has(name)) throw new FormatError(this.what, `the name ${shown(name)} is defined already`);
    this.#names.add(name);
  }

  async #key(word) {
    const vkey = decodeUtf8(Uint8Array.from(word, (character) => character.charCodeAt(0)), this.what);
    try {
      return await parseVkey(vkey);
    } catch (error) {
      if (error instanceof FormatError) throw new FormatError(this.what, error.message);
      throw error;
    }
  }

  #checkCount(items) {
    if (items.length >= MAX_ITEMS) throw new FormatError(this.what, `more than ${MAX_ITEMS} are not supported`);
  }
}

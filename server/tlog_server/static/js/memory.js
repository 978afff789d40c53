/**
 * What this browser remembers of each log: the key that its user confirmed, and the checkpoints that were verified.
 *
 * It is kept in localStorage, for one web origin. A key is never replaced, and a checkpoint only by one that is not
 * smaller: both would hide what they are kept to show. The first key is trusted because the user confirmed it (trust on
 * first use); the page must say so.
 */

import { FormatError, VerifyError, shown } from "./errors.js";
import { parseCheckpoint } from "./checkpoint.js";
import { equal } from "./bytes.js";

const PREFIX = "tlog:1:";

/** How many verified checkpoints are kept of each log. */
export const MAX_HISTORY = 50;

/**
 * @typedef {object} Remembered
 * @property {string} vkey the pinned key
 * @property {string} pinnedAt ISO 8601, when the user confirmed it
 * @property {{text: string, verifiedAt: string}[]} history verified checkpoints, the oldest first; the last one counts
 */

export class Memory {
  #storage;
  #now;

  /**
   * @param {Storage} [storage] localStorage, or anything with getItem, setItem, removeItem, key and length
   * @param {() => Date} [now]
   */
  constructor(storage = undefined, now = () => new Date()) {
    this.#storage = guard(() => storage ?? globalThis.localStorage);
    this.#now = now;
  }

  /**
   * What is remembered of a log.
   * @param {string} origin the log's, as its checkpoints have it
   * @returns {Remembered | null} null at the first visit. Throws: VerifyError "memory" where it cannot be read.
   */
  look(origin) {
    const text = guard(() => this.#storage.getItem(PREFIX + origin));
    if (text === null) return null;
    let found;
    try {
      found = JSON.parse(text);
    } catch (error) {
      throw damaged(origin, error);
    }
    const isText = (value) => typeof value === "string";
    const isKept = (item) => isText(item?.text) && isText(item?.verifiedAt);
    const isWhole = isText(found?.vkey) && isText(found?.pinnedAt) && Array.isArray(found?.history);
    if (!isWhole || !found.history.every(isKept) || !found.vkey.startsWith(`${origin}+`)) throw damaged(origin);
    return found;
  }

  /**
   * Pin the key that the user has confirmed. The same key again changes nothing.
   * @param {import("./note.js").VerifierKey} key of a log
   * @returns {Remembered} Throws: VerifyError "key-changed" where another one is pinned, "memory".
   */
  pin(key) {
    if (this.look(key.name) !== null) return this.require(key);
    const pinned = { vkey: key.text, pinnedAt: this.#now().toISOString(), history: [] };
    this.#write(key.name, pinned);
    return pinned;
  }

  /**
   * What is remembered of the log with this key.
   * @param {import("./note.js").VerifierKey} key
   * @returns {Remembered} Throws: VerifyError "unpinned" where the user has confirmed none, "key-changed" where another
   *   one, "memory".
   */
  require(key) {
    const found = this.look(key.name);
    if (found === null) throw unpinned(key.name);
    if (found.vkey === key.text) return found;
    throw new VerifyError(
      "key-changed",
      `This is not the key of ${key.name} that you confirmed on ${found.pinnedAt.slice(0, 10)}. Either the log has a ` +
        "new key, which its operator can tell you by another way, or somebody poses as the log.",
      { expected: found.vkey, found: key.text },
    );
  }

  /**
   * Remember a checkpoint that was just verified under the pinned key, and shown to extend the one before.
   * @param {string} text the signed note
   * @returns {Remembered} Throws: VerifyError "rollback" or "split-view" where it contradicts what is remembered.
   */
  remember(text) {
    const checkpoint = parseCheckpoint(text);
    const found = this.look(checkpoint.origin);
    if (found === null) throw unpinned(checkpoint.origin);
    const last = found.history.at(-1);
    if (last !== undefined) {
      const before = this.#parsed(checkpoint.origin, last.text);
      requireNotOlder(before, checkpoint);
      if (before.treeSize === checkpoint.treeSize) found.history.pop();
    }
    found.history.push({ text, verifiedAt: this.#now().toISOString() });
    found.history.splice(0, found.history.length - MAX_HISTORY);
    this.#write(checkpoint.origin, found);
    return found;
  }

  /** Forget a log, key and checkpoints, because the user said so. */
  forget(origin) {
    guard(() => this.#storage.removeItem(PREFIX + origin));
  }

  /** The origins of all logs that are remembered, sorted. @returns {string[]} */
  origins() {
    return guard(() => {
      const keys = Array.from({ length: this.#storage.length }, (_, place) => this.#storage.key(place));
      return keys.filter((key) => key.startsWith(PREFIX)).map((key) => key.slice(PREFIX.length)).sort();
    });
  }

  #parsed(origin, text) {
    try {
      return parseCheckpoint(text);
    } catch (error) {
      throw damaged(origin, error);
    }
  }

  #write(origin, remembered) {
    guard(() => this.#storage.setItem(PREFIX + origin, JSON.stringify(remembered)));
  }
}

/**
 * Refuse a checkpoint that is smaller than one verified before, or of its size with another root hash.
 * @param {import("./checkpoint.js").Checkpoint} old verified before
 * @param {import("./checkpoint.js").Checkpoint} fresh verified now
 * Throws: VerifyError "rollback" or "split-view", with both signed notes as evidence.
 */
export function requireNotOlder(old, fresh) {
  const evidence = { old: old.raw, new: fresh.raw };
  if (fresh.treeSize < old.treeSize) {
    throw new VerifyError(
      "rollback",
      `The log shows ${fresh.treeSize} entries, and it has shown ${old.treeSize} before. It went back, or an old ` +
        "checkpoint is being replayed to you.",
      { expected: `at least ${old.treeSize} entries`, found: `${fresh.treeSize} entries`, evidence },
    );
  }
  if (fresh.treeSize === old.treeSize && !equal(fresh.rootHash, old.rootHash)) {
    throw new VerifyError(
      "split-view",
      `The log has signed two different trees of ${fresh.treeSize} entries. Different readers are shown different ` +
        "logs. The two signed checkpoints prove it: keep them.",
      { evidence },
    );
  }
}

function guard(action) {
  try {
    return action();
  } catch (error) {
    const message = `This browser does not let the page remember anything (${error.message}); nothing can be compared.`;
    throw new VerifyError("memory", message, { cause: error });
  }
}

function unpinned(origin) {
  return new VerifyError("unpinned", `No key of ${origin} is pinned in this browser yet.`);
}

function damaged(origin, cause) {
  const message = `What this browser remembers of ${shown(origin)} cannot be read. It is not used, and not replaced.`;
  return new VerifyError("memory", message, { cause: cause ?? new FormatError("memory", "a field is missing") });
}

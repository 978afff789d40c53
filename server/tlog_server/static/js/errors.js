/**
 * The two errors of the library: bytes that are not in their one accepted form, and claims that are not proved.
 */

/** Input that is not in the one form that is accepted. `what` names it, `reason` says what is wrong. */
export class FormatError extends Error {
  /**
   * @param {string} what the thing and its place, such as "checkpoint tree size"
   * @param {string} reason what is wrong with it
   */
  constructor(what, reason) {
    super(`${what}: ${reason}`);
    this.name = "FormatError";
    this.what = what;
    this.reason = reason;
  }
}

/**
 * Why something was not proved, where that accuses the log, or whoever stands between.
 *
 * key-changed, rollback, split-view, fork: what the log shows contradicts what it showed before.
 * signature, unsigned, wrong-origin: the checkpoint is not one of the log's.
 * tile, entry, chain, proof: what was fetched is not what was signed.
 */
export const ALARMS = new Set([
  "key-changed", "rollback", "split-view", "fork", "signature", "unsigned", "wrong-origin", "tile", "entry", "chain",
  "proof",
]);

/** The other reasons: an outage, a damaged file, a browser that cannot, a question that has no answer yet. */
export const OTHERS = new Set([
  "defect", "empty", "format", "http", "memory", "network", "not-covered", "not-found", "quorum", "redirect", "timeout",
  "too-large", "unpinned", "unsupported",
]);

/** Something that is not proved. Nothing that the failing step was about may be believed. */
export class VerifyError extends Error {
  /**
   * @param {string} kind one of ALARMS, or one of OTHERS
   * @param {string} message what failed, in words for the reader of a page
   * @param {{step?: string, expected?: string, found?: string, evidence?: {old: string, new: string}, cause?: unknown}}
   *   [details] step: which one failed. expected, found: as text, hashes in base64. evidence: two signed notes of the
   *   log that contradict each other, for whoever shall judge.
   */
  constructor(kind, message, { step, expected, found, evidence, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    if (!ALARMS.has(kind) && !OTHERS.has(kind)) throw new TypeError(`${kind} is no kind of VerifyError`);
    this.name = "VerifyError";
    this.kind = kind;
    this.step = step;
    this.expected = expected;
    this.found = found;
    this.evidence = evidence;
  }

  /** Whether the log, or whoever stands between, must be suspected of cheating. */
  get isAlarm() {
    return ALARMS.has(this.kind);
  }
}

/** Text of strangers, cut to a length that an error can show. */
export function shown(text, most = 60) {
  return JSON.stringify(text.length > most ? `${text.slice(0, most)}...` : text);
}

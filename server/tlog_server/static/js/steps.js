/**
 * A verification as a list of steps, each told when it begins and when it ends, so that a page can show them live.
 */

import { FormatError, VerifyError } from "./errors.js";

/**
 * @typedef {object} Step
 * @property {string} id
 * @property {string} title what is done, in plain words
 * @property {"running" | "done" | "failed"} state
 * @property {string} text what came out; empty while it runs
 */

/** Runs steps one after another; the first that fails is the last. */
export class Steps {
  /** @param {(step: Step, all: Step[]) => void} [onStep] told of every change */
  constructor(onStep = () => {}) {
    /** @type {Step[]} */
    this.all = [];
    this.onStep = onStep;
  }

  /**
   * Run one step.
   * @template T
   * @param {string} id
   * @param {string} title
   * @param {() => Promise<[string, T]> | [string, T]} action returns what came out in words, and the result
   * @returns {Promise<T>} Throws: VerifyError whose `step` is the id, whatever went wrong.
   */
  async run(id, title, action) {
    const step = { id, title, state: "running", text: "" };
    this.all.push(step);
    this.onStep(step, this.all);
    try {
      const [text, result] = await action();
      Object.assign(step, { state: "done", text });
      this.onStep(step, this.all);
      return result;
    } catch (caught) {
      const error = asVerifyError(caught);
      error.step = id;
      Object.assign(step, { state: "failed", text: error.message });
      this.onStep(step, this.all);
      throw error;
    }
  }
}

/** Any error as one of verification: whatever goes wrong, nothing was proved. */
function asVerifyError(error) {
  if (error instanceof VerifyError) return error;
  const [kind, message] =
    error instanceof FormatError ? ["format", "Not in the accepted form"] : ["defect", "The verification itself failed"];
  return new VerifyError(kind, `${message}: ${error?.message ?? error}.`, { cause: error });
}

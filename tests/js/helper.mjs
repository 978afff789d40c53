/** What the tests in Node share: the logs that pytest wrote, and a fetch that serves them from files. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { VerifyError } from "../../server/tlog_server/static/js/errors.js";

export const DATA = process.env.TLOG_JS_DATA;
export const VECTORS = join(process.env.TLOG_TESTDATA, "vectors");
export const BASE = "https://log.example/";

export function readJson(...path) {
  return JSON.parse(readFileSync(join(...path), "utf8"));
}

/** A log that Python wrote: its facts, and where `verifyEntry` finds it. */
export function logOf(name) {
  const facts = readJson(DATA, `${name}.json`);
  return { ...facts, name, where: { base: BASE, partition: facts.partition, vkey: facts.vkey } };
}

/**
 * A fetch that serves an exported log.
 * @param {string} name
 * @param {{checkpoint?: string, alter?: (path: string, body: Uint8Array) => Uint8Array | Response}} [options]
 *   checkpoint: served instead of the published one. alter: what a lying server does to a body, or answers.
 */
export function serve(name, { checkpoint, alter = (path, body) => body } = {}) {
  const asked = [];
  const fetch = async (url, options) => {
    assert.ok(url.startsWith(`${BASE}users/`), url);
    const path = url.slice(`${BASE}users/`.length);
    asked.push(path);
    options.signal.throwIfAborted();
    if (path === "checkpoint" && checkpoint !== undefined) {
      return answer(alter(path, new TextEncoder().encode(checkpoint)));
    }
    const file = join(DATA, name, path);
    if (!existsSync(file)) return new Response("", { status: 404 });
    return answer(alter(path, new Uint8Array(readFileSync(file))));
  };
  fetch.asked = asked;
  return fetch;
}

function answer(body) {
  return body instanceof Response ? body : new Response(body);
}

/** That something is refused as not proved, and as what. @returns {Promise<VerifyError>} */
export async function refused(promise, ...kinds) {
  let result;
  try {
    result = await promise;
  } catch (error) {
    assert.ok(error instanceof VerifyError, `${error.stack}`);
    assert.ok(kinds.length === 0 || kinds.includes(error.kind), `${error.kind} (${error.message}), not ${kinds}`);
    assert.notEqual(error.kind, "defect", error.stack);
    return error;
  }
  throw new assert.AssertionError({ message: `accepted: ${JSON.stringify(result)?.slice(0, 300)}` });
}

/** A copy with one bit changed. */
export function flipped(bytes, bit) {
  const copy = bytes.slice();
  copy[Math.floor(bit / 8)] ^= 1 << bit % 8;
  return copy;
}

/** What localStorage is, in memory. */
export class FakeStorage {
  #items = new Map();
  get length() {
    return this.#items.size;
  }
  key(place) {
    return [...this.#items.keys()][place] ?? null;
  }
  getItem(key) {
    return this.#items.get(key) ?? null;
  }
  setItem(key, value) {
    this.#items.set(key, String(value));
  }
  removeItem(key) {
    this.#items.delete(key);
  }
}

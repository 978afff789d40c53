/**
 * Fetching a log's static resources, and being suspicious about it: one origin, no redirects, bounded sizes and times.
 *
 * What comes back is unverified. Source: c2sp.org/tlog-tiles.
 */

import { decodeUtf8 } from "./bytes.js";
import { FormatError, VerifyError, shown } from "./errors.js";
import { MAX_NOTE_SIZE } from "./note.js";
import { TILE_WIDTH, decodeBundle, largestTile, tilePath } from "./tile.js";

/** Milliseconds for one resource, from the request to its last byte. */
export const TIMEOUT_MS = 20_000;

const MAX_VKEY_SIZE = 4097;
const PARTITION = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** One partition of a log over HTTP. */
export class LogSource {
  #prefix;
  #fetch;
  #timeoutMs;

  /**
   * @param {object} where
   * @param {string} where.base the server's URL, such as `https://audit.example.com/`
   * @param {string} where.partition
   * @param {typeof globalThis.fetch} [where.fetch]
   * @param {number} [where.timeoutMs] for each resource
   */
  constructor({ base, partition, fetch = globalThis.fetch, timeoutMs = TIMEOUT_MS }) {
    if (!PARTITION.test(partition)) throw new FormatError("partition", `${shown(partition)} is no name of a partition`);
    this.#prefix = new URL(`${partition}/`, base.endsWith("/") ? base : `${base}/`).href;
    this.#fetch = fetch;
    this.#timeoutMs = timeoutMs;
  }

  /** The published checkpoint: a signed note, unverified. @returns {Promise<Uint8Array>} */
  checkpoint() {
    return this.#get("checkpoint", MAX_NOTE_SIZE, "no-store");
  }

  /** The verifier key that the server offers: to be confirmed by the user, never to be trusted by itself. */
  async vkey() {
    return decodeUtf8(await this.#get("vkey", MAX_VKEY_SIZE, "no-store"), "vkey").replace(/\n$/, "");
  }

  /** A tile's bytes. Where a partial tile is gone, the full one is cut. @returns {Promise<Uint8Array>} */
  async tile(tile) {
    const raw = await this.#whole(tile);
    return raw.isFull ? raw.bytes.slice(0, tile.width * 32) : raw.bytes;
  }

  /** The entries of a bundle. @returns {Promise<Uint8Array[]>} */
  async bundle(bundle) {
    const raw = await this.#whole(bundle);
    return decodeBundle(raw.bytes, raw.isFull ? TILE_WIDTH : bundle.width).slice(0, bundle.width);
  }

  /** A log may drop a partial tile when the full one exists. */
  async #whole(tile) {
    try {
      return { bytes: await this.#get(tilePath(tile), largestTile(tile), "no-cache"), isFull: false };
    } catch (error) {
      if (error.kind !== "not-found" || tile.width === TILE_WIDTH) throw error;
      const full = { ...tile, width: TILE_WIDTH };
      try {
        return { bytes: await this.#get(tilePath(full), largestTile(full), "no-cache"), isFull: true };
      } catch (second) {
        throw second.kind === "not-found" ? error : second;
      }
    }
  }

  async #get(path, limit, cache) {
    const url = this.#prefix + path;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), this.#timeoutMs);
    try {
      const response = await this.#fetch.call(globalThis, url, {
        cache,
        credentials: "same-origin",
        redirect: "manual",
        referrerPolicy: "no-referrer",
        signal: abort.signal,
      });
      checkAnswer(response, url, path);
      return await boundedBody(response, limit, path);
    } catch (error) {
      if (error instanceof VerifyError) throw error;
      if (abort.signal.aborted) {
        throw new VerifyError("timeout", `The server did not send ${path} within ${this.#timeoutMs / 1000} s.`);
      }
      throw new VerifyError("network", `${path} could not be fetched: ${error.message}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }
}

function checkAnswer(response, url, path) {
  const isElsewhere = response.redirected || (response.url !== "" && response.url !== url);
  if (response.type === "opaqueredirect" || isElsewhere || (response.status >= 300 && response.status < 400)) {
    throw new VerifyError("redirect", `The server sends the reader of ${path} elsewhere, where nobody asked to go.`);
  }
  if (response.status === 404) throw new VerifyError("not-found", `The server has no ${path}.`);
  if (response.status !== 200) {
    throw new VerifyError("http", `The server answered ${response.status} for ${path}.`, {
      expected: "200",
      found: String(response.status),
    });
  }
}

async function boundedBody(response, limit, path) {
  const parts = [];
  let size = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > limit) {
      await reader.cancel();
      throw new VerifyError("too-large", `${path} is longer than the ${limit} bytes that it can have.`);
    }
    parts.push(value);
  }
  const body = new Uint8Array(size);
  parts.reduce((start, part) => (body.set(part, start), start + part.length), 0);
  return body;
}

/**
 * Tiles of 256 hashes and bundles of 256 entries: coordinates, paths, and which of them a tree of a given size has.
 *
 * A partial tile's width follows from the tree size alone, and it is never hashed into the level above.
 * Source: c2sp.org/tlog-tiles.
 */

import { parseDecimal, requireInteger } from "./bytes.js";
import { FormatError, shown } from "./errors.js";

export const TILE_HEIGHT = 8;
export const TILE_WIDTH = 256;

const MAX_LEVEL = 63;
const MAX_ENTRY_SIZE = 0xffff;
const PATH = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/;

/**
 * @typedef {object} Tile
 * @property {number | "entries"} level 0 holds leaf hashes; "entries" is the bundle beside the level 0 tile
 * @property {number} index zero-based within the level
 * @property {number} width 1 to 256 hashes or entries
 */

/** The path of a tile or bundle below the log's prefix, such as `tile/0/x001/x234/067.p/112`. */
export function tilePath({ level, index, width }) {
  let path = String(index % 1000).padStart(3, "0");
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${String(rest % 1000).padStart(3, "0")}/${path}`;
  }
  return `tile/${level}/${path}${width === TILE_WIDTH ? "" : `.p/${width}`}`;
}

/**
 * The tile or bundle with this path. Throws: FormatError for any other spelling than the canonical one.
 * @returns {Tile}
 */
export function parseTilePath(path) {
  const match = path.length <= 64 ? PATH.exec(path) : null;
  if (match === null) throw new FormatError("tile path", `${shown(path)} is no path of a tile`);
  const digits = match[2].replaceAll(/[x/]/g, "").replace(/^0+(?=.)/, "");
  const tile = {
    level: match[1] === "entries" ? match[1] : parseDecimal(match[1], "tile level", MAX_LEVEL),
    index: parseDecimal(digits, "tile index"),
    width: match[3] === undefined ? TILE_WIDTH : parseDecimal(match[3], "tile width", TILE_WIDTH - 1),
  };
  if (tile.width === 0 || tilePath(tile) !== path) {
    throw new FormatError("tile path", `${shown(path)} is not canonical`);
  }
  return tile;
}

/**
 * The tile at this place with the width that it has in a tree of `treeSize`; a bundle where the level is "entries".
 * @returns {Tile} Throws: FormatError where the tree has no such tile.
 */
export function tileAt(level, index, treeSize) {
  const place = level === "entries" ? 0 : requireInteger(level, "tile level", 0, MAX_LEVEL);
  const count = Math.floor(treeSize / TILE_WIDTH ** place) - requireInteger(index, "tile index") * TILE_WIDTH;
  if (count <= 0) {
    throw new FormatError("tile", `a tree of size ${treeSize} has none at level ${level}, index ${index}`);
  }
  return { level, index, width: Math.min(count, TILE_WIDTH) };
}

/**
 * The partial tiles of a tree, from the highest level down; together they hold its whole right edge.
 * @returns {Tile[]} at most 7
 */
export function edgeTiles(treeSize) {
  const edge = [];
  for (let [level, count] = [0, treeSize]; count > 0; level += 1, count = Math.floor(count / TILE_WIDTH)) {
    const width = count % TILE_WIDTH;
    if (width > 0) edge.unshift({ level, index: Math.floor(count / TILE_WIDTH), width });
  }
  return edge;
}

/**
 * The entries of a bundle, each behind its length of two bytes. Unverified until their leaf hashes are compared.
 * @param {Uint8Array} raw
 * @param {number} width how many entries it must hold, no more and no less
 * @returns {Uint8Array[]} Throws: FormatError.
 */
export function decodeBundle(raw, width) {
  const entries = [];
  let start = 0;
  for (let number = 0; number < width; number += 1) {
    const body = start + 2;
    const end = body + (raw[start] << 8) + raw[start + 1];
    if (body > raw.length || end > raw.length) {
      throw new FormatError("entry bundle", `it ends within entry ${number} of ${width}`);
    }
    entries.push(raw.subarray(body, end));
    start = end;
  }
  if (start !== raw.length) {
    throw new FormatError("entry bundle", `it has ${raw.length - start} bytes after its last entry`);
  }
  return entries;
}

/** The most bytes that a tile or bundle may have. */
export function largestTile({ level, width }) {
  return width * (level === "entries" ? MAX_ENTRY_SIZE + 2 : 32);
}

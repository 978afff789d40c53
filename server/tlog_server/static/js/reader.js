/**
 * Reading tree nodes out of tiles, each tile authenticated against a signed root hash before it is used.
 *
 * Nothing that the log sends is believed: the partial tiles hold the tree's whole right edge, so together they must fold
 * to the root hash; a full tile must hash to the entry that its parent tile has for it, and the parent is authenticated
 * first. Every tile is compared with a hash of its own. Source: c2sp.org/tlog-tiles; golang.org/issue/80744 for what
 * happens otherwise.
 */

import { encodeBase64, equal, requireInteger } from "./bytes.js";
import { FormatError, VerifyError } from "./errors.js";
import { EMPTY_ROOT, HASH_SIZE, parentRows } from "./hash.js";
import { TILE_HEIGHT, TILE_WIDTH, edgeTiles, tileAt, tilePath } from "./tile.js";
import { fold, planConsistency, planInclusion, spanNodes } from "./tree.js";

/** The nodes of one tree, known by a verified checkpoint's size and root hash. */
export class TileReader {
  #fetchTile;
  #onTile;
  #rows = new Map();
  #edge = null;

  /**
   * @param {(tile: import("./tile.js").Tile) => Promise<Uint8Array>} fetchTile whose answers are not believed
   * @param {{treeSize: number, rootHash: Uint8Array}} checkpoint verified
   * @param {(path: string) => void} [onTile] told of each tile once it is authenticated
   */
  constructor(fetchTile, { treeSize, rootHash }, onTile = () => {}) {
    this.#fetchTile = fetchTile;
    this.#onTile = onTile;
    this.treeSize = requireInteger(treeSize, "tree size");
    this.rootHash = rootHash;
  }

  /**
   * The hashes of nodes, every one authenticated.
   * @param {import("./tree.js").Node[]} nodes
   * @returns {Promise<Uint8Array[]>} Throws: VerifyError "tile" naming the first tile that is not under the root hash,
   *   FormatError for a node that the tree has not, and what `fetchTile` throws.
   */
  async readNodes(nodes) {
    const places = nodes.map((node) => this.#placeOf(node));
    await this.#authenticate(places.map(({ tile }) => tile));
    return places.map(({ tile, row, column }) => this.#rows.get(tilePath(tile))[row][column]);
  }

  /** The leaf hash at an index. Throws: as `readNodes`. */
  async leafHash(index) {
    const [hash] = await this.readNodes([{ level: 0, index }]);
    return hash;
  }

  /**
   * The inclusion proof of a leaf, and for each of its hashes where that stands in the tree and which tiles it is from.
   * @param {number} leafIndex
   * @returns {Promise<{hashes: Uint8Array[], path: PathStep[]}>} Throws: as `readNodes`.
   *
   * @typedef {object} PathStep
   * @property {number} level steps above the leaf
   * @property {"left" | "right"} side where the sibling stands
   * @property {Uint8Array} hash the sibling's
   * @property {number} start the sibling covers the leaves [start, end)
   * @property {number} end
   * @property {string[]} tiles the paths of the tiles that the hash was computed from
   */
  async inclusion(leafIndex) {
    const plan = planInclusion(leafIndex, this.treeSize);
    const spans = plan.map(spanNodes);
    const found = await this.readNodes(spans.flat());
    const path = [];
    for (const [place, nodes] of spans.entries()) {
      const hash = await fold(found.splice(0, nodes.length));
      const tiles = [...new Set(nodes.map((node) => tilePath(this.#placeOf(node).tile)))];
      path.push({ ...plan[place], hash, tiles });
    }
    return { hashes: path.map(({ hash }) => hash), path };
  }

  /** The consistency proof from a smaller or equal tree size. Throws: as `readNodes`. */
  async consistency(oldSize) {
    const spans = planConsistency(oldSize, this.treeSize).map(spanNodes);
    const found = await this.readNodes(spans.flat());
    const hashes = [];
    for (const nodes of spans) hashes.push(await fold(found.splice(0, nodes.length)));
    return hashes;
  }

  #placeOf({ level, index }) {
    if (requireInteger(index, "node index") >= Math.floor(this.treeSize / 2 ** requireInteger(level, "node level"))) {
      throw new FormatError("node", `a tree of size ${this.treeSize} has none at level ${level}, index ${index}`);
    }
    const row = level % TILE_HEIGHT;
    const width = 2 ** (TILE_HEIGHT - row);
    const tile = tileAt((level - row) / TILE_HEIGHT, Math.floor(index / width), this.treeSize);
    return { tile, row, column: index % width };
  }

  /** Make sure that these tiles, and all above them, are in #rows. */
  async #authenticate(tiles) {
    await (this.#edge ??= this.#authenticateEdge());
    const wanted = new Map();
    for (let tile of tiles) {
      for (; tile.width === TILE_WIDTH; tile = this.#parentOf(tile)) {
        const path = tilePath(tile);
        if (this.#rows.has(path) || wanted.has(path)) break;
        wanted.set(path, tile);
      }
    }
    const fetched = await Promise.all([...wanted].map(async ([path, tile]) => [path, tile, await this.#fetch(tile)]));
    fetched.sort(([, one], [, other]) => other.level - one.level);
    for (const [path, tile, rows] of fetched) {
      const expected = this.#rows.get(tilePath(this.#parentOf(tile)))[0][tile.index % TILE_WIDTH];
      const found = rows[TILE_HEIGHT][0];
      if (!equal(found, expected)) {
        throw mismatch(`The tile ${path} is not the one under the checkpoint.`, expected, found);
      }
      this.#rows.set(path, rows);
      this.#onTile(path);
    }
  }

  #parentOf({ level, index }) {
    return tileAt(level + 1, Math.floor(index / TILE_WIDTH), this.treeSize);
  }

  async #authenticateEdge() {
    const tiles = edgeTiles(this.treeSize);
    const fetched = await Promise.all(tiles.map((tile) => this.#fetch(tile)));
    const hashes = tiles.flatMap(({ width }, place) =>
      spanNodes({ start: 0, end: width }).map(({ level, index }) => fetched[place][level][index]),
    );
    const found = hashes.length > 0 ? await fold(hashes) : EMPTY_ROOT;
    if (!equal(found, this.rootHash)) {
      const names = tiles.map(tilePath).join(" and ") || "no tile";
      throw mismatch(`The partial tiles (${names}) do not fold to the checkpoint's root hash.`, this.rootHash, found);
    }
    for (const [place, tile] of tiles.entries()) {
      this.#rows.set(tilePath(tile), fetched[place]);
      this.#onTile(tilePath(tile));
    }
  }

  /** The rows of a tile: of the right size, not yet authenticated. */
  async #fetch(tile) {
    const raw = await this.#fetchTile(tile);
    if (raw.length !== tile.width * HASH_SIZE) {
      const details = { expected: `${tile.width * HASH_SIZE} bytes`, found: `${raw.length} bytes` };
      throw new VerifyError("tile", `The tile ${tilePath(tile)} has the wrong size.`, details);
    }
    const hashes = [];
    for (let start = 0; start < raw.length; start += HASH_SIZE) hashes.push(raw.slice(start, start + HASH_SIZE));
    return parentRows(hashes);
  }
}

function mismatch(message, expected, found) {
  return new VerifyError("tile", message, { expected: encodeBase64(expected), found: encodeBase64(found) });
}

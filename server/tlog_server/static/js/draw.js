/**
 * The audit path as a drawing: an SVG built with DOM calls, readable for screen readers, coloured by the page's style.
 *
 * Classes for the style sheet: `path-root`, `path-node`, `path-leaf`, `path-sibling`, `path-edge`, `path-label`,
 * `path-hash`.
 */

import { encodeBase64 } from "./bytes.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 340;
const ROW = 56;
const BOX = { width: 148, height: 34 };
const MARGIN = 8;

/**
 * Draw how the leaf's hash and each sibling lead to the root hash.
 * @param {Document} document
 * @param {{index: number, leafHash: Uint8Array, path: import("./reader.js").PathStep[],
 *   checkpoint: {treeSize: number, rootHash: Uint8Array}}} proved what `verifyEntry` or `verifyProof` returned
 * @returns {SVGSVGElement} as wide as its parent, up to 340 px a column; its title and description tell it in words
 */
export function drawPath(document, { index, leafHash, path, checkpoint }) {
  const make = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const height = (path.length + 1) * ROW + MARGIN;
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", class: "audit-path" });
  const title = `The way from entry ${index} to the root hash of ${checkpoint.treeSize} entries`;
  const told = path.map((step) => `${sideInWords(step)}: ${nameOf(step)}, ${encodeBase64(step.hash)}`);
  svg.append(make("title", {}, title), make("desc", {}, [title, ...told].join(". ")));
  const places = placesOf(path);
  const rowTop = (row) => MARGIN / 2 + (path.length - row) * ROW;
  path.forEach((step, row) => {
    const siblingAt = step.side === "left" ? MARGIN : WIDTH - MARGIN - BOX.width;
    for (const from of [places[row], siblingAt]) {
      svg.append(edge(make, from, rowTop(row), places[row + 1], rowTop(row + 1)));
    }
    svg.append(box(make, siblingAt, rowTop(row), "path-sibling", nameOf(step), step.hash));
  });
  for (let row = 0; row <= path.length; row += 1) {
    const isRoot = row === path.length;
    const label = isRoot ? `root of ${checkpoint.treeSize}` : row === 0 ? `entry ${index}` : "computed here";
    const kind = isRoot ? "path-root" : row === 0 ? "path-leaf" : "path-node";
    const hash = isRoot ? checkpoint.rootHash : row === 0 ? leafHash : undefined;
    svg.append(box(make, places[row], rowTop(row), kind, label, hash));
  }
  return svg;
}

/**
 * The same as a table for those who read numbers: one row a sibling, from the leaf upwards.
 * @returns {{side: string, name: string, hash: string, tiles: string}[]}
 */
export function pathRows(path) {
  return path.map((step) => ({
    side: step.side,
    name: nameOf(step),
    hash: encodeBase64(step.hash),
    tiles: step.tiles.join(", "),
  }));
}

/** Left edges of the boxes on the way up: a box stands across from its sibling, the root in the middle. */
function placesOf(path) {
  const middle = (WIDTH - BOX.width) / 2;
  return [...path.map(({ side }) => (side === "left" ? WIDTH - MARGIN - BOX.width : MARGIN)), middle];
}

function nameOf({ start, end }) {
  return end - start === 1 ? `entry ${start}` : `entries ${start} to ${end - 1}`;
}

function sideInWords({ side }) {
  return side === "left" ? "joined with the hash on its left" : "joined with the hash on its right";
}

function edge(make, fromX, fromTop, toX, toTop) {
  const [x1, x2] = [fromX + BOX.width / 2, toX + BOX.width / 2];
  return make("line", { x1, y1: fromTop, x2, y2: toTop + BOX.height, class: "path-edge" });
}

function box(make, x, y, kind, label, hash) {
  const group = make("g", { class: kind });
  group.append(make("rect", { x, y, width: BOX.width, height: BOX.height, rx: 5 }));
  const textAt = { x: x + BOX.width / 2, "text-anchor": "middle" };
  group.append(make("text", { ...textAt, y: y + (hash ? 14 : 21), class: "path-label" }, label));
  if (hash) group.append(make("text", { ...textAt, y: y + 27, class: "path-hash" }, `${encodeBase64(hash).slice(0, 12)}…`));
  return group;
}

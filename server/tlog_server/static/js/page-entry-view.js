/**
 * An entry in words and as text, made in the browser from bytes that were proved; the twin of what the server makes.
 */

import { decodeUtf8 } from "./bytes.js";
import { visible } from "./jsontext.js";
import { make, when } from "./page-dom.js";

const MAX_SENTENCE_VALUE = 200;
const MAX_CELL = 200;
const ENDINGS = { success: ", which succeeded", failure: ", which failed", unknown: "; how it ended is not known" };

/**
 * Who did what, to what, and how it ended; see `tlog.report.sentence`.
 * @param {unknown} data parsed JSON
 * @returns {{text: string, isValue: boolean}[]}
 */
export function sentence(data) {
  const own = (text) => ({ text, isValue: false });
  if (data === null || typeof data !== "object" || Array.isArray(data)) {
    return [own(`This entry is no event with an actor and an action: its data is ${kindOf(data)}.`)];
  }
  const [actor, action, target] = ["actor", "action", "target"].map((name) => valueOf(data, name));
  if (actor === null && action === null) {
    return [own("This entry names neither an actor nor an action; what it holds stands below.")];
  }
  const outcome = Object.hasOwn(data, "outcome") ? data.outcome : undefined;
  const ending = typeof outcome === "string" && Object.hasOwn(ENDINGS, outcome) ? ENDINGS[outcome] : "";
  return [
    actor ?? own("Somebody unnamed"),
    own(" did "),
    action ?? own("something unnamed"),
    ...(target === null ? [] : [own(" to "), target]),
    own(`${ending}.`),
  ];
}

/** Put a sentence into an element. */
export function showSentence(element, data) {
  const parts = sentence(data).map(({ text, isValue }) =>
    isValue ? make("bdi", { class: "value" }, visible(text)) : text,
  );
  element.replaceChildren(...parts);
}

/**
 * The list of facts about an entry, as the page has it.
 * @param {HTMLElement} list
 * @param {import("./entry.js").Entry} entry
 */
export function showFacts(list, entry) {
  const data = JSON.parse(entry.data);
  const meta = entry.meta === null ? {} : JSON.parse(entry.meta);
  list.replaceChildren();
  const add = (name, value, note) => {
    const shown = note === undefined ? [] : [" ", make("span", { class: "faint" }, note)];
    list.append(make("dt", {}, name), make("dd", {}, make("bdi", {}, value), ...shown));
  };
  add("Logged at", when(entry.ts), "by the log's clock");
  const field = (from, name) => (from !== null && typeof from === "object" && Object.hasOwn(from, name) ? from[name] : null);
  const text = (from, name) => (typeof field(from, name) === "string" && field(from, name) !== "" ? cell(field(from, name)) : null);
  const stated = [
    ["Time stated", text(data, "time"), "by who submitted it"],
    ["Written by", text(meta, "writer"), "the log knew them by their token"],
    ["Category", text(data, "category")],
    ["Severity", text(data, "severity")],
    ["Message", text(data, "message")],
  ];
  for (const [name, value, note] of stated) if (value !== null) add(name, value, note);
}

/** An entry's line, what cannot be seen spelled out. */
export function lineText(bytes) {
  return visible(decodeUtf8(bytes, "entry"));
}

/** What two renderings of one text must share, whatever they hold for invisible: its ASCII, without escapes and spaces. */
export function essence(text) {
  return text.replace(/\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\n|[^!-~]/g, "");
}

function cell(text) {
  const seen = Array.from(visible(text));
  return seen.length <= MAX_CELL ? seen.join("") : `${seen.slice(0, MAX_CELL).join("")}… [cut: ${seen.length.toLocaleString("en")} characters]`;
}

function kindOf(data) {
  if (data === null) return "null";
  if (Array.isArray(data)) return "a list";
  return { string: "text", number: "a number", boolean: "true or false" }[typeof data];
}

function valueOf(data, name) {
  const value = Object.hasOwn(data, name) ? data[name] : null;
  if (typeof value !== "string" || value === "") return null;
  const characters = Array.from(value);
  return { text: characters.length <= MAX_SENTENCE_VALUE ? value : `${characters.slice(0, MAX_SENTENCE_VALUE).join("")}…`, isValue: true };
}

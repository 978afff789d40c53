/**
 * What the pages' scripts share: elements made of text, verdicts, lists of steps, files to take away.
 *
 * Text goes into the page as text only; nothing here makes markup of a string.
 */

import { drawPath, pathRows } from "./draw.js";
import { visible } from "./jsontext.js";

/** What contradicts an earlier visit is called by its name. */
const ALARMS = {
  "split-view": "Split view, this log has two histories",
  fork: "Split view, this log has two histories",
  rollback: "This log went back",
  "key-changed": "Another key than the one you keep",
};

/** The element with this id, or null. */
export const byId = (id) => document.getElementById(id);

/**
 * An element.
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/**
 * Say how something ended, in the page's verdict.
 * @param {HTMLElement} element
 * @param {"idle" | "busy" | "good" | "warn" | "bad" | "bad alarm"} kind
 * @param {string} title
 * @param {...(Node | string)} paragraphs
 */
export function say(element, kind, title, ...paragraphs) {
  element.className = `verdict ${kind}`;
  element.hidden = false;
  const parts = paragraphs.map((part) => (typeof part === "string" ? make("p", {}, visible(part)) : part));
  element.replaceChildren(make(element.dataset.heading ?? "h3", {}, title), ...parts);
}

/** Tell in the page's last section what this browser has checked. */
export function sayChecked(text) {
  byId("checked-browser")?.replaceChildren(visible(text));
}

/**
 * What to do with each step of a verification: show it in a list.
 * @param {HTMLElement} list
 * @returns {(step: import("./steps.js").Step, all: import("./steps.js").Step[]) => void}
 */
export function showSteps(list) {
  list.replaceChildren();
  list.hidden = false;
  return (step, all) => {
    const place = all.indexOf(step);
    const text = step.text === "" ? [] : [make("small", {}, visible(step.text))];
    const item = make("li", { class: step.state }, step.title, ...text);
    if (list.children[place]) list.children[place].replaceWith(item);
    else list.append(item);
  };
}

/**
 * Say why something is not proved: loudly where the log must be suspected, with what was expected and found.
 * @param {HTMLElement} element
 * @param {import("./errors.js").VerifyError} error
 * @param {string} what is not proved, as a title
 */
export function sayFailure(element, error, what) {
  const rows = [["Expected", error.expected], ["Found", error.found]].filter(([, value]) => value !== undefined);
  const list = make("dl");
  for (const [name, value] of rows) list.append(make("dt", {}, name), make("dd", { class: "hash" }, visible(value)));
  const parts = rows.length > 0 ? [error.message, list] : [error.message];
  if (error.isAlarm) {
    const title = ALARMS[error.kind] ?? what;
    const advice = "Do not rely on what this server shows. Tell the log's owner by another way.";
    say(element, "bad alarm", `${title}: do not trust this`, ...parts, advice);
    element.setAttribute("role", "alert");
  } else {
    say(element, "warn", what, ...parts, "Nothing was proved. It may be an outage; if it stays, somebody keeps something back.");
  }
  element.scrollIntoView({ block: "nearest" });
}

/** A link that gives a text away as a file. */
export function fileLink(name, text, label, type = "text/plain") {
  const address = URL.createObjectURL(new Blob([text], { type }));
  return make("a", { class: "button", href: address, download: name }, label);
}

/** A time as the pages write it. */
export function when(iso) {
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
}

/** Draw the audit path of what was proved, and list it. */
export function showPath(proved) {
  byId("drawing").replaceChildren(drawPath(document, proved));
  const rows = pathRows(proved.path).map(({ name, side, hash, tiles }) =>
    make(
      "tr", {},
      make("th", { scope: "row" }, name), make("td", {}, side), make("td", { class: "hash" }, hash),
      make("td", {}, tiles === "" ? "the proof" : tiles),
    ),
  );
  byId("path-rows").replaceChildren(...rows);
  byId("path").hidden = false;
}

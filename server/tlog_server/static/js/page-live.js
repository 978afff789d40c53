/**
 * The live page: entries as they become durable, told politely, with a pause.
 */

import { visible } from "./jsontext.js";
import { byId, make, when } from "./page-dom.js";

const MAX_ROWS = 200;
const MAX_WAITING = 500;
const MAX_CELL = 200;
const TELL_MS = 3000;
const GRAVE = new Set(["error", "critical", "alert", "emergency"]);

const rows = byId("rows");
const state = byId("state");
const pause = byId("pause");
const { partition, size } = state.dataset;
let waiting = [];
let missed = 0;
let isPaused = false;
let count = 0;

function text(data, name) {
  const isObject = data !== null && typeof data === "object" && Object.hasOwn(data, name);
  const value = isObject && typeof data[name] === "string" ? Array.from(visible(data[name])) : [];
  return value.length <= MAX_CELL ? value.join("") : `${value.slice(0, MAX_CELL).join("")}… [cut: ${value.length.toLocaleString("en")} characters]`;
}

function rowOf({ index, ts, data }) {
  const [actor, action, target, message, outcome, severity] = ["actor", "action", "target", "message", "outcome", "severity"].map((name) => text(data, name));
  const bdi = (value) => make("bdi", {}, value);
  const did = [bdi(action || "-")];
  if (target) did.push(" ", make("span", { class: "faint" }, "→"), " ", bdi(target));
  if (message) did.push(make("span", { class: "detail" }, bdi(message)));
  const ended = [];
  if (outcome) ended.push(make("span", outcome === "failure" ? { class: "grave" } : {}, bdi(outcome)));
  if (severity) ended.push(" ", make("span", { class: GRAVE.has(severity) ? "grave" : "faint" }, bdi(severity)));
  const stated = text(data, "time");
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(stated) ? stated : ts;
  return make(
    "tr", { class: "new" },
    make("th", { scope: "row" }, make("a", { href: `/${partition}/events/${index}` }, index.toLocaleString("en"))),
    make("td", { class: "when" }, make("time", { datetime: time }, when(time))),
    make("td", {}, bdi(actor || "-")), make("td", {}, ...did), make("td", {}, ...ended),
  );
}

function show(entries) {
  byId("none")?.remove();
  for (const entry of entries) rows.prepend(rowOf(entry));
  while (rows.children.length > MAX_ROWS) rows.lastElementChild.remove();
}

function take(entry) {
  count += 1;
  if (!isPaused) {
    show([entry]);
    return;
  }
  waiting.push(entry);
  if (waiting.length > MAX_WAITING) {
    waiting.shift();
    missed += 1;
  }
}

let told = "";
function tell(connection) {
  const come = `${count.toLocaleString("en")} ${count === 1 ? "entry has" : "entries have"} come since you opened this page`;
  const paused = isPaused ? ` Paused: ${waiting.length + missed} wait${missed > 0 ? `, of which the last ${MAX_WAITING} are kept` : ""}.` : "";
  const words = connection === "open" ? `Following the log. ${come}.${paused}` : `Not connected; trying again. ${come}.`;
  if (words !== told) state.textContent = told = words;
}

const stream = new EventSource(`/api/v1/events/stream?${new URLSearchParams({ partition, start: size })}`);
let connection = "closed";
stream.addEventListener("open", () => {
  connection = "open";
  tell(connection);
});
stream.addEventListener("error", () => {
  connection = "closed";
  tell(connection);
});
stream.addEventListener("entry", ({ data }) => take(JSON.parse(data)));
setInterval(() => tell(connection), TELL_MS);
window.addEventListener("pagehide", () => stream.close());

pause.hidden = false;
pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", String(isPaused));
  pause.textContent = isPaused ? "Go on" : "Pause";
  if (!isPaused) {
    show(waiting);
    [waiting, missed] = [[], 0];
  }
  tell(connection);
});

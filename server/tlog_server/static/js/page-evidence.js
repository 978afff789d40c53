/**
 * Evidence that a log contradicts itself: both signed notes, kept in this browser, to be taken away as a file.
 */

import { visible } from "./jsontext.js";
import { byId, fileLink, make, when } from "./page-dom.js";

const PREFIX = "tlog.evidence:";

/**
 * Keep and show the evidence that an error carries; an error without any changes nothing.
 * @param {string} origin of the log
 * @param {import("./errors.js").VerifyError} error
 */
export function showEvidence(origin, error) {
  if (error.evidence === undefined) return;
  const kept = { origin, kind: error.kind, message: error.message, seen: new Date().toISOString(), ...error.evidence };
  try {
    localStorage.setItem(PREFIX + origin, JSON.stringify(kept));
  } catch {
    // It is shown all the same.
  }
  show(kept);
}

/** Show what was kept of a log at an earlier visit, if anything. */
export function showKeptEvidence(origin) {
  try {
    const text = localStorage.getItem(PREFIX + origin);
    if (text !== null) show(JSON.parse(text));
  } catch {
    // Storage is switched off, or somebody else wrote there.
  }
}

function show(kept) {
  const place = byId("evidence");
  if (place === null) return;
  const note = (title, text) =>
    make("div", {}, make("h4", {}, title), make("pre", { tabindex: "0", "aria-label": title }, ...lines(text)));
  const name = `evidence-${kept.origin.replaceAll(/[^A-Za-z0-9._-]/g, "-")}.json`;
  place.replaceChildren(
    make("h3", {}, "Evidence"),
    make(
      "p", {},
      `Seen ${when(kept.seen)}: ${visible(kept.message)} Both statements are signed by the log's key. Keep them: with that key ` +
        "they convict the log before anybody.",
    ),
    make("div", { class: "evidence" }, note("Remembered by this browser", kept.old), note("Shown by the server", kept.new)),
    make("p", { class: "row" }, fileLink(name, `${JSON.stringify(kept, null, 2)}\n`, "Download both notes", "application/json")),
  );
  place.hidden = false;
}

function lines(text) {
  return text.split("\n").flatMap((line, place) => (place === 0 ? [visible(line)] : ["\n", visible(line)]));
}

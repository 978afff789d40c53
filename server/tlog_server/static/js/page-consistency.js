/**
 * Growth since the last visit: today's checkpoint against the one that this browser keeps, proved from the log's tiles.
 */

import { Memory } from "./memory.js";
import { showEvidence, showKeptEvidence } from "./page-evidence.js";
import { byId, make, say, sayChecked, sayFailure, showSteps, when } from "./page-dom.js";
import { pinnedKey } from "./page-key.js";
import { parseCheckpoint } from "./checkpoint.js";
import { verifyConsistency } from "./verify.js";

const { partition, origin, vkey } = byId("consistency").dataset;
const memory = new Memory();
const verdict = byId("verdict");
const again = byId("check");

async function run() {
  again.hidden = true;
  byId("evidence").hidden = true;
  try {
    const pinned = await pinnedKey(memory, origin, vkey, () =>
      say(verdict, "idle", "Not checked yet", "This browser needs to know the log's key first."),
    );
    const last = pinned.history.at(-1);
    say(verdict, "busy", "Checking in this browser …");
    const onStep = showSteps(byId("steps"));
    const what = { base: location.origin, partition, vkey: pinned.vkey, onStep };
    const proved = await verifyConsistency({ ...what, oldCheckpoint: last?.text ?? (await published()) });
    memory.remember(proved.new.raw);
    sayGrowth(proved, last);
    showRemembered();
  } catch (error) {
    sayFailure(verdict, error, "Not proved that the log only grew");
    showEvidence(origin, error);
    sayChecked(`It failed: ${error.message}`);
  } finally {
    again.hidden = false;
  }
}

function sayGrowth(proved, last) {
  const [old, now] = [proved.old.treeSize, proved.new.treeSize];
  const number = (value) => value.toLocaleString("en");
  if (last === undefined) {
    say(
      verdict, "good", "First visit: the checkpoint is remembered",
      `The log shows ${number(now)} entries, signed by the key that this browser keeps. There is nothing to compare it with ` +
        "yet; the next visit proves that the log only grew since now.",
    );
    sayChecked("The signature of today's checkpoint. There was no earlier one to compare it with.");
  } else {
    const change = now === old ? `The log has ${number(now)} entries, as it had` : `The log grew from ${number(old)} to ${number(now)} entries since`;
    say(
      verdict, "good", "The log only grew",
      `${change} at your visit of ${when(last.verifiedAt)}. Nothing that was there then was changed or taken away: today's tree begins with that one.`,
    );
    sayChecked("Both signatures, and from the log's tiles that today's tree begins with the one of your last visit.");
  }
}

function showRemembered() {
  const place = byId("remembered");
  const { vkey: key, pinnedAt, history } = memory.look(origin);
  const forget = make("button", { type: "button", class: "quiet" }, "Forget this log");
  forget.addEventListener("click", () => {
    memory.forget(origin);
    location.reload();
  });
  const body = make("tbody");
  for (const { text, verifiedAt } of history.toReversed().slice(0, 10)) {
    const size = parseCheckpoint(text).treeSize.toLocaleString("en");
    body.append(make("tr", {}, make("th", { scope: "row", class: "when" }, when(verifiedAt)), make("td", { class: "count" }, size)));
  }
  const head = make("tr", {}, make("th", { scope: "col" }, "Verified"), make("th", { scope: "col", class: "count" }, "Entries"));
  place.replaceChildren(
    make("h3", {}, "What this browser remembers"),
    make("p", { class: "note" }, `The key, kept since ${when(pinnedAt)}:`),
    make("pre", { tabindex: "0", "aria-label": "The key that is kept" }, key),
    make("table", {}, make("caption", {}, "Checkpoints that it has verified, the latest first"), make("thead", {}, head), body),
    make("p", { class: "row" }, forget, make("span", { class: "note" }, "Then the next visit is a first one again.")),
  );
  place.hidden = false;
}

async function published() {
  const answer = await fetch(`/${partition}/checkpoint`, { cache: "no-store", redirect: "error" });
  return answer.ok ? answer.text() : "";
}

again.addEventListener("click", () => void run());
showKeptEvidence(origin);
void run();

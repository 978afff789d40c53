/**
 * Two pasted checkpoints, compared in this browser: signatures, and growth from one to the other by the log's tiles.
 */

import { parseCheckpoint } from "./checkpoint.js";
import { VerifyError } from "./errors.js";
import { Memory } from "./memory.js";
import { byId, make, say, sayChecked, sayFailure, showSteps } from "./page-dom.js";
import { fetchedKey } from "./page-fetch.js";
import { pinnedKey } from "./page-key.js";
import { verifyConsistency } from "./verify.js";

const verdict = byId("browser-verdict");
const button = byId("compare-here");

async function run() {
  byId("verdict")?.remove();
  try {
    const notes = ["first", "second"].map((id) => parseCheckpoint(`${byId(id).value.replaceAll("\r\n", "\n").replace(/^\n+|\n+$/g, "")}\n`));
    const [old, fresh] = notes.toSorted((one, other) => one.treeSize - other.treeSize);
    if (old.origin !== fresh.origin) throw new VerifyError("format", "They are of two different logs; compare two of one log.");
    const partition = old.origin.slice(old.origin.lastIndexOf("/") + 1);
    const pinned = await pinnedKey(new Memory(), old.origin, await fetchedKey(partition, old.origin), () =>
      say(verdict, "idle", "Not compared yet", "This browser needs to know the log's key first."),
    );
    say(verdict, "busy", "Comparing in this browser …");
    const onStep = showSteps(byId("steps"));
    await verifyConsistency({
      base: location.origin, partition, vkey: pinned.vkey, oldCheckpoint: old.raw, newCheckpoint: fresh.raw, onStep,
    });
    const words = old.treeSize === fresh.treeSize
      ? "One size, one root hash, both signed by the log."
      : `The tree of ${fresh.treeSize.toLocaleString("en")} entries begins with that of ${old.treeSize.toLocaleString("en")}: the log only grew.`;
    say(verdict, "good", old.treeSize === fresh.treeSize ? "The same, as this browser finds" : "Consistent, as this browser finds", words);
    sayChecked("Both signatures, and from the log's tiles that the larger tree begins with the smaller.");
  } catch (caught) {
    const error = caught instanceof VerifyError ? caught : new VerifyError("format", `Not in the accepted form: ${caught.message}.`, { cause: caught });
    sayFailure(verdict, error, error.evidence ? "They contradict each other" : "They cannot be compared");
    if (error.evidence) verdict.append(make("p", {}, make("strong", {}, "Keep both texts."), " With the log's key they convict it before anybody."));
    sayChecked(`It failed: ${error.message}`);
  }
}

button.hidden = false;
button.addEventListener("click", () => {
  if (byId("compare").reportValidity()) void run();
});

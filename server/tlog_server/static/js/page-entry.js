/**
 * The page of an entry: verify it here, show each step and the audit path, and show what was proved in the place of what
 * the server showed.
 */

import { VerifyError } from "./errors.js";
import { Memory } from "./memory.js";
import { showEvidence } from "./page-evidence.js";
import { essence, lineText, showFacts, showSentence } from "./page-entry-view.js";
import { byId, say, sayChecked, sayFailure, showPath, showSteps, when } from "./page-dom.js";
import { pinnedKey } from "./page-key.js";
import { verifyEntry } from "./verify.js";

const section = byId("verification");
const { partition, index, origin, vkey } = section.dataset;
const memory = new Memory();
const verdict = byId("verdict");
const again = byId("verify");

async function run() {
  again.hidden = true;
  byId("path").hidden = true;
  byId("unproved").hidden = true;
  isProved = false;
  try {
    const pinned = await pinnedKey(memory, origin, vkey, () =>
      say(verdict, "idle", "Not verified yet", "This browser needs to know the log's key first."),
    );
    say(verdict, "busy", "Verifying in this browser …");
    const onStep = showSteps(byId("steps"));
    const grew = pinned.history.length > 0 ? ", that the log only grew since this browser's last visit" : "";
    const proved = await verifyEntry({
      base: location.origin, partition, index: Number(index), vkey: pinned.vkey, memory, onStep,
    });
    requireShown(proved);
    showPath(proved);
    const size = proved.checkpoint.treeSize.toLocaleString("en");
    say(
      verdict, "good", "Verified in this browser",
      `This entry is number ${Number(index).toLocaleString("en")} of the log ${origin}, under the checkpoint of ${size} entries ` +
        `that the log has signed. The key is the one that this browser has kept since ${when(pinned.pinnedAt)}.`,
      "What stands below was made in this browser from the bytes that were proved.",
    );
    sayChecked(
      `The signature, every tile${grew}, and the path from the exact bytes to the signed root hash. Not proved: ` +
        `${proved.notProved.join("; ")}.`,
    );
  } catch (error) {
    sayFailure(verdict, error, "Not verified");
    byId("unproved").hidden = isProved;
    showEvidence(origin, error);
    sayChecked(`It failed: ${error.message}`);
  } finally {
    again.textContent = "Verify again";
    again.className = "quiet";
    again.hidden = false;
  }
}

let isProved = false;

/** Put what was proved in the place of what the server showed. Throws: VerifyError where that was something else. */
function requireShown(proved) {
  const panes = { sentence: byId("sentence"), facts: byId("facts"), bytes: byId("bytes"), pretty: byId("pretty") };
  const before = essenceOf(panes);
  isProved = true;
  showSentence(panes.sentence, JSON.parse(proved.entry.data));
  showFacts(panes.facts, proved.entry);
  panes.bytes.textContent = lineText(proved.entryBytes);
  panes.pretty.textContent = proved.entry.prettyData;
  const after = essenceOf(panes);
  const wrong = Object.keys(before).find((name) => before[name] !== after[name]);
  if (wrong === undefined) return;
  throw new VerifyError(
    "entry",
    "This server showed you another text than the one that is in the log. What stands below now is the log's; what stood " +
      `there before, differed in: ${{ sentence: "the sentence", facts: "the facts", bytes: "the bytes" }[wrong]}.`,
  );
}

function essenceOf({ sentence, facts, bytes }) {
  return { sentence: essence(sentence.textContent), facts: essence(facts.textContent), bytes: essence(bytes.textContent) };
}

if (again !== null) {
  again.addEventListener("click", () => void run());
  void run();
}

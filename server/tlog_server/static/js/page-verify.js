/**
 * A proof that was dropped, chosen or pasted, checked in this browser.
 */

import { VerifyError } from "./errors.js";
import { Memory } from "./memory.js";
import { DROPPED } from "./page-common.js";
import { byId, make, say, sayChecked, sayFailure, showPath, showSteps, when } from "./page-dom.js";
import { lineText, showFacts, showSentence } from "./page-entry-view.js";
import { fetchedKey } from "./page-fetch.js";
import { pinnedKey } from "./page-key.js";
import { MAX_PROOF_SIZE, parseProof } from "./tlogproof.js";
import { verifyProof } from "./verify.js";

const verdict = byId("verdict");
const field = byId("proof");

async function run() {
  byId("server-verdict")?.remove();
  for (const id of ["path", "proved", "steps"]) byId(id).hidden = true;
  try {
    const text = `${field.value.replaceAll("\r\n", "\n").replace(/^\n+|\n+$/g, "")}\n`;
    const { origin } = parseProof(text).checkpoint;
    const offered = await fetchedKey(origin.slice(origin.lastIndexOf("/") + 1), origin);
    const pinned = await pinnedKey(new Memory(), origin, offered, () =>
      say(verdict, "idle", "Not checked yet", `The proof is of the log ${origin}. This browser needs to know its key first.`),
    );
    say(verdict, "busy", "Checking in this browser …");
    const proved = await verifyProof(text, pinned.vkey, { onStep: showSteps(byId("steps")) });
    say(
      verdict, "good", "Proved, in this browser",
      `Entry ${proved.index.toLocaleString("en")} is in the log ${origin}, under its signed checkpoint of ` +
        `${proved.checkpoint.treeSize.toLocaleString("en")} entries. The key is the one that this browser has kept since ${when(pinned.pinnedAt)}.`,
    );
    showPath(proved);
    showProved(proved);
    sayChecked(`The signature, and the path from the entry's bytes to the signed root hash. Not proved: ${proved.notProved.join("; ")}.`);
  } catch (caught) {
    const error = caught instanceof VerifyError ? caught : new VerifyError("format", `Not in the accepted form: ${caught.message}.`, { cause: caught });
    sayFailure(verdict, error, "Not proved");
    sayChecked(`It failed: ${error.message}`);
  }
}

function showProved({ entry, entryBytes }) {
  const said = make("p", { class: "sentence" });
  showSentence(said, JSON.parse(entry.data));
  const facts = make("dl", { class: "pairs" });
  showFacts(facts, entry);
  const pane = (label, text) => [make("h3", {}, label), make("pre", { tabindex: "0", class: "tall", "aria-label": label }, text)];
  byId("proved").replaceChildren(
    make("h2", {}, "The entry that is proved"), said, facts,
    ...pane("Its data, laid out for reading", entry.prettyData), ...pane("Its exact bytes", lineText(entryBytes)),
  );
  byId("proved").hidden = false;
}

function take(text) {
  field.value = text;
  void run();
}

byId("check-here").hidden = false;
byId("check-server").className = "quiet";
byId("choose").hidden = false;
byId("check-here").addEventListener("click", () => {
  if (byId("proof-form").reportValidity()) void run();
});
byId("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (file !== undefined) take(file.size > MAX_PROOF_SIZE ? "" : await file.text());
});
document.addEventListener(DROPPED, ({ detail }) => take(detail));
const waiting = sessionStorage.getItem(DROPPED);
if (waiting !== null) {
  sessionStorage.removeItem(DROPPED);
  take(waiting);
}

/**
 * Evidence of a split view, judged in this browser with a key that the reader has from elsewhere.
 */

import { toHex } from "./bytes.js";
import { VerifyError } from "./errors.js";
import { verifyEvidence } from "./evidence.js";
import { parseVkey } from "./note.js";
import { byId, make, say, sayChecked } from "./page-dom.js";

const [form, field, verdict] = [byId("judge"), byId("judge-key"), byId("verdict")];

async function run() {
  say(verdict, "busy", "Checking in this browser …");
  try {
    const key = await parseVkey(field.value.trim());
    const response = await fetch(form.dataset.evidence, { cache: "no-store" });
    if (!response.ok) throw new VerifyError("http", `The evidence was not given out: status ${response.status}.`);
    const { evidence, rootHash } = await verifyEvidence(new Uint8Array(await response.arrayBuffer()), key);
    const count = evidence.against.treeSize.toLocaleString("en");
    say(
      verdict, "bad", "Proved in this browser: the log has forked",
      `Both checkpoints are signed with the key that you gave, and no tree can hold both: the root hash of the first ${count} entries is`,
      make("p", { class: "hash" }, toHex(evidence.against.rootHash), " in one,"),
      make("p", { class: "hash" }, toHex(rootHash), " in the other."),
    );
    sayChecked("Both signatures, with the key that you gave, and by the hashes of the file that the trees contradict each other.");
  } catch (caught) {
    const error = caught instanceof VerifyError ? caught : new VerifyError("format", `Not in the accepted form: ${caught.message}.`, { cause: caught });
    say(verdict, "warn", "Not proved: it accuses nobody under this key", error.message);
    sayChecked(`It failed: ${error.message}`);
  }
}

form.hidden = false;
form.addEventListener("submit", (event) => {
  event.preventDefault();
  void run();
});

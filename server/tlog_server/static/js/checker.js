/**
 * The self-contained checker's page: reads a proof and a key or policy, and shows what was proved.
 *
 * What stands in a proof was written by strangers: it reaches the page as text only, hidden characters spelled out.
 */

import { decodeUtf8, toHex } from "./bytes.js";
import { drawPath, pathRows } from "./draw.js";
import { VerifyError } from "./errors.js";
import { requireCryptography } from "./hash.js";
import { visible } from "./jsontext.js";
import { keyLabel } from "./note.js";
import { parseTrust } from "./policy.js";
import { names, plural } from "./proving.js";
import { MAX_PROOF_SIZE, PROOF_HEADER, parseProof } from "./tlogproof.js";
import { verifyProof } from "./verify.js";

const HEX_COLUMNS = 32;

/** What a failure means, by its kind, for somebody who never saw one. */
const MEANINGS = {
  chain: "The log has signed this line, but the line contradicts itself or its place. Ask the log's operator.",
  defect: "This is a fault of the checker or of this browser. It says nothing about the proof; use tlog-verify.",
  format: "What was given could not be read, so nothing was checked. It may be damaged, or something else altogether.",
  "not-covered": "The proof and its checkpoint do not belong together.",
  proof: "Entry, path and signed checkpoint do not belong together: at least one of them was changed.",
  quorum: "The log's signature is right, but not enough of the witnesses that you trust have seen this checkpoint.",
  signature: "Somebody changed the checkpoint, or made it without the log's private key.",
  unsigned: "The checkpoint may be another log's, or a forgery, or you have another key than the log's.",
  unsupported: "Nothing was checked. Use another browser, or the command tlog-verify.",
  "wrong-origin": "Look whether this is the right key for this proof.",
};

const $ = (id) => document.getElementById(id);
let run = 0;

/** An element with text, or with children. */
function make(name, className = "", ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function clear() {
  run += 1;
  $("verdict").replaceChildren();
  $("verdict").className = "";
  $("result").hidden = true;
  $("proved").hidden = true;
}

async function check() {
  clear();
  const mine = run;
  const [proof, trust] = [$("proof").value, $("trust").value];
  if (proof === "" || trust === "") {
    $(proof === "" ? "proof" : "trust").focus();
    showVerdict("warn", "Nothing to check yet", proof === "" ? "A proof is missing." : "A key or policy is missing.");
    return;
  }
  showVerdict("busy", "Checking…");
  const onStep = (step, all) => mine === run && showSteps(all);
  try {
    const proved = await verifyProof(completed(proof), trust, { onStep });
    if (mine === run) showProved(proved);
  } catch (error) {
    if (mine === run) showRefused(error);
  }
  if (mine === run) $("verdict").focus({ preventScroll: false });
}

/** A proof with the newline at its end that copying often loses. Not so a policy: its end must be there to count. */
function completed(text) {
  return text.endsWith("\n") ? text : `${text}\n`;
}

function showVerdict(kind, title, ...lines) {
  $("verdict").className = `verdict ${kind}`;
  $("verdict").replaceChildren(make("h2", "", title), ...lines.map((line) => make("p", "", line)));
}

function showSteps(all) {
  $("result").hidden = false;
  $("steps").replaceChildren(
    ...all.map(({ title, state, text }) => {
      const words = { done: "Done: ", failed: "Failed: ", running: "Under way: " };
      return make("li", state, make("span", "unseen", words[state]), title, make("small", "", visible(text)));
    }),
  );
}

function showRefused(error) {
  showVerdict("bad", "Not proved", visible(error.message), MEANINGS[error.kind] ?? "");
  const facts = make("dl");
  for (const [label, value] of [["Expected", error.expected], ["Found", error.found]]) {
    if (value) facts.append(make("dt", "", label), make("dd", "hash", visible(value)));
  }
  $("verdict").append(facts);
  if (!(error instanceof VerifyError)) console.error(error);
}

function showProved(proved) {
  const { index, entry, entryBytes, checkpoint, signed, path, notProved } = proved;
  const { origin, treeSize } = checkpoint;
  const witnesses = signed.met.length > 0 ? `, and cosigned by ${names(signed.met)}` : "";
  const signers = visible(`${keyLabel(signed.logKey)} has signed${witnesses}`);
  showVerdict(
    "good",
    `Proved: entry ${index} is in the log ${visible(origin)}`,
    `It is one of the ${plural(treeSize, "entry", "entries")} that ${signers}. Not a byte of it was changed since.`,
  );
  $("limits").replaceChildren(...notProved.map((limit) => make("li", "", visible(limit))));
  showPairs($("facts"), [
    ["Number", String(entry.seq)],
    ["Logged at", `${entry.ts}, by the log's clock`],
    ["Partition", entry.partition],
    ["Attested by the log", entry.meta ?? "nothing more"],
    ["Entry's own hash", toHex(entry.hash)],
    ["Hash of the entry before", toHex(entry.prevHash)],
  ]);
  $("data").textContent = entry.prettyData;
  $("bytes").textContent = visible(decodeUtf8(entryBytes, "entry"));
  $("hex").textContent = hexLines(entryBytes);
  $("drawing").replaceChildren(drawPath(document, proved));
  $("path-rows").replaceChildren(...pathRows(path).map(pathRow));
  $("checkpoint").textContent = checkpoint.raw.split("\n").map(visible).join("\n");
  $("proved").hidden = false;
}

function showPairs(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([label, value]) => [make("dt", "", label), make("dd", "", visible(value))]));
}

function pathRow({ name, side, hash }, place) {
  const row = make("tr", "", Object.assign(make("th", "", String(place + 1)), { scope: "row" }));
  for (const [label, value] of [["Sibling covers", name], ["Side", side], ["Hash", hash]]) {
    const cell = make("td", label === "Hash" ? "mono" : "", value);
    cell.dataset.label = label;
    row.append(cell);
  }
  return row;
}

function hexLines(bytes) {
  const hex = toHex(bytes);
  const lines = [];
  for (let start = 0; start < hex.length; start += HEX_COLUMNS) lines.push(hex.slice(start, start + HEX_COLUMNS));
  return lines.join("\n");
}

async function take(file) {
  clear();
  if (file.size > MAX_PROOF_SIZE) {
    showVerdict("bad", "Not read", `${visible(file.name)} has ${file.size} bytes, more than any proof, key or policy.`);
    return;
  }
  try {
    const text = decodeUtf8(new Uint8Array(await file.arrayBuffer()), file.name);
    put(text.startsWith(PROOF_HEADER) ? "proof" : "trust", text);
  } catch (error) {
    showVerdict("bad", "Not read", visible(error.message));
    return;
  }
  if ($("proof").value !== "" && $("trust").value !== "") await check();
}

function put(id, text) {
  $(id).value = text;
  // A text area would show other line ends than the file has; nothing that was changed on the way may be checked.
  if ($(id).value !== text) {
    throw new VerifyError("format", "The file has carriage returns, which no proof, key or policy has.");
  }
  $(`${id}-said`).textContent = "";
  describe(id);
}

/** Say, without any claim, what the fields seem to hold. */
async function describe(id) {
  const text = $(id).value;
  let said = "";
  try {
    if (text !== "" && id === "proof") {
      const { leafIndex, checkpoint } = parseProof(completed(text));
      said = `Says that entry ${leafIndex} is in the log ${checkpoint.origin}. Not checked yet.`;
    } else if (text !== "") {
      const { logs, witnesses } = await parseTrust(text);
      said = logs.map(keyLabel).join(", ") || "No log";
      if (witnesses.length > 0) said += `, ${plural(witnesses.length, "witness", "witnesses")}`;
    }
  } catch (error) {
    said = `Not readable: ${error.message}`;
  }
  if ($(id).value === text) $(`${id}-said`).textContent = visible(said);
}

function listen() {
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    check();
  });
  $("form").addEventListener("reset", () => {
    clear();
    for (const id of ["proof-said", "trust-said"]) $(id).textContent = "";
  });
  for (const id of ["proof", "trust"]) {
    $(id).addEventListener("input", () => {
      clear();
      describe(id);
    });
    // The same file may be chosen again, after it was changed.
    $(`${id}-file`).addEventListener("click", ({ target }) => (target.value = ""));
    $(`${id}-file`).addEventListener("change", async ({ target }) => {
      for (const file of target.files) await take(file);
    });
  }
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) $("drop").hidden = true;
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    $("drop").hidden = true;
    for (const file of [...event.dataTransfer.files]) await take(file);
  });
}

listen();
requireCryptography().catch((error) => {
  $("cannot").replaceChildren(make("h2", "", "Nothing can be checked"), make("p", "", error.message));
  $("cannot").hidden = false;
});

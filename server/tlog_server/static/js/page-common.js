/**
 * On every page: the theme's switch, buttons that copy, and proofs that are dropped.
 */

import { MAX_PROOF_SIZE } from "./tlogproof.js";
import { byId } from "./page-dom.js";

const THEMES = ["system", "light", "dark"];
const THEME = "tlog.theme";

/** Under this name a dropped proof waits for the page that checks it. */
export const DROPPED = "tlog.dropped";

function startTheme() {
  const button = byId("theme");
  const root = document.documentElement;
  const show = () => {
    button.textContent = `Theme: ${root.dataset.theme ?? "system"}`;
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "system") + 1) % THEMES.length];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem(THEME, next);
    } catch {
      // It is not remembered, that is all.
    }
    show();
  });
  show();
  button.hidden = false;
}

function startCopying() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = navigator.clipboard === undefined;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
      button.textContent = "Copied";
      setTimeout(() => {
        button.textContent = "Copy";
      }, 1500);
    });
  }
}

function startDropping() {
  const sign = byId("drop");
  if (sign === null) return;
  const hasFile = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    sign.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) sign.hidden = true;
  });
  document.addEventListener("drop", async (event) => {
    sign.hidden = true;
    const [file] = event.dataTransfer?.files ?? [];
    if (file === undefined) return;
    event.preventDefault();
    const text = file.size > MAX_PROOF_SIZE ? "" : await file.text();
    if (location.pathname === "/verify") {
      document.dispatchEvent(new CustomEvent(DROPPED, { detail: text }));
    } else {
      sessionStorage.setItem(DROPPED, text);
      location.assign("/verify");
    }
  });
}

startTheme();
startCopying();
startDropping();

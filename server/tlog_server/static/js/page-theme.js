// The theme that was chosen, before anything is drawn: loaded without waiting, from the head of every page.
(() => {
  "use strict";
  let chosen = null;
  try {
    chosen = localStorage.getItem("tlog.theme");
  } catch {
    // Storage is switched off: the system's theme it is.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();

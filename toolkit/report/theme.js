// Runs before anything is drawn: the theme that was chosen, so that the page does not flash in another one.
"use strict";
(() => {
  try {
    const chosen = localStorage.getItem("offramp-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // No storage: a private window, or a file that may not have any.
  }
})();

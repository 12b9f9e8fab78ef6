// Shows one of several tables, the one that is chosen. Without scripts, and on paper, all of them are there.
"use strict";
(() => {
  for (const group of document.querySelectorAll("fieldset.choice")) {
    const inputs = [...group.querySelectorAll("input")];
    const show = () => {
      for (const input of inputs) document.getElementById(input.value).hidden = !input.checked;
    };
    group.addEventListener("change", show);
    group.hidden = false;
    show();
  }
})();

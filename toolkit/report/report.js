// What makes the page answer: the theme's switch, keys that switch on and off what they name, choices between parts,
// and what the pointer, a finger or the arrow keys read in a picture. Without it all of the page can be read.
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const spoken = document.getElementById("spoken");
  const tip = document.getElementById("tip");

  // The theme: auto follows the device.
  const theme = document.getElementById("theme");
  if (theme) {
    theme.value = root.dataset.theme || "auto";
    theme.parentElement.hidden = false;
    theme.addEventListener("change", () => {
      if (theme.value === "auto") delete root.dataset.theme;
      else root.dataset.theme = theme.value;
      try {
        if (theme.value === "auto") localStorage.removeItem("offramp-theme");
        else localStorage.setItem("offramp-theme", theme.value);
      } catch {
        // It holds for as long as the page is open.
      }
    });
  }

  // Keys of a legend.
  for (const key of all("button.key")) {
    key.disabled = false;
    key.addEventListener("click", () => {
      const on = key.getAttribute("aria-pressed") !== "true";
      key.setAttribute("aria-pressed", String(on));
      const within = key.closest("[data-keys]") || document;
      for (const part of all("[data-of]", within)) {
        if (part.dataset.of === key.dataset.group) part.classList.toggle("off", !on);
      }
    });
  }

  // One of several parts; on paper, and without scripts, all of them are there.
  for (const group of all("fieldset.choice")) {
    const inputs = all("input", group);
    const show = () => {
      for (const input of inputs) document.getElementById(input.value).hidden = !input.checked;
    };
    group.addEventListener("change", show);
    group.hidden = false;
    show();
  }

  // What a picture tells of its parts stands in its titles; a finger cannot read those, so they become ours.
  for (const title of all("svg title")) {
    title.parentElement.dataset.tip = title.textContent;
    title.remove();
  }

  for (const part of all("main [title]")) {
    part.dataset.tip = part.title;
    part.removeAttribute("title");
    part.setAttribute("tabindex", "0");
    part.addEventListener("focus", () => {
      const box = part.getBoundingClientRect();
      show(part.dataset.tip, box.left, box.bottom);
    });
    part.addEventListener("blur", () => hide());
  }

  function show(text, x, y) {
    const [first, ...others] = text.split("\n");
    const strong = document.createElement("strong");
    strong.textContent = first;
    tip.replaceChildren(strong, ...others.map((line) => Object.assign(document.createElement("span"), { textContent: line })));
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = x + 16 + width > root.clientWidth ? x - 16 - width : x + 16;
    tip.style.left = `${Math.max(6, Math.min(left, root.clientWidth - width - 6))}px`;
    tip.style.top = `${Math.max(6, Math.min(y + 14, innerHeight - height - 6))}px`;
  }
  const hide = () => {
    tip.hidden = true;
  };
  window.offramp = { show, hide, all };

  let read = null; // the part that is read now
  function point(event) {
    if (!(event.target instanceof Element)) return;
    if (event.target.closest("[data-own-tips]")) return;
    const part = event.target.closest("[data-tip]");
    if (part) show(part.dataset.tip, event.clientX, event.clientY);
    else if (read !== null || event.pointerType !== "mouse") hide();
    read = part;
  }
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  document.addEventListener("scroll", hide, { passive: true });

  for (const picture of all("svg[role=img]")) {
    const parts = () => all("[data-tip]", picture).filter((part) => !part.closest(".off"));
    if (!parts().length) continue;
    picture.setAttribute("tabindex", "0");
    picture.setAttribute("aria-label", `${picture.getAttribute("aria-label")}. Arrow keys read its values.`);
    let place = -1;
    picture.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      const found = parts();
      place = (place + step + found.length) % found.length;
      const box = found[place].getBoundingClientRect();
      show(found[place].dataset.tip, box.left + box.width / 2, box.top + box.height / 2);
      spoken.textContent = found[place].dataset.tip.replaceAll("\n", ", ");
    });
    picture.addEventListener("blur", hide);
  }

  // The section that is read now, in the contents.
  const links = new Map(all("nav a").map((link) => [link.getAttribute("href").slice(1), link]));
  if ("IntersectionObserver" in window) {
    const seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          if (!isIntersecting) continue;
          for (const [id, link] of links) {
            if (id === target.id) link.setAttribute("aria-current", "true");
            else link.removeAttribute("aria-current");
          }
          const strip = document.querySelector("nav .strip");
          const link = links.get(target.id);
          if (strip && link) strip.scrollLeft = link.offsetLeft - strip.offsetLeft - 40;
        }
      },
      { rootMargin: "-20% 0px -70% 0px" },
    );
    for (const section of all("main > section[id]")) if (links.has(section.id)) seen.observe(section);
  }
  // On paper everything is open.
  addEventListener("beforeprint", () => {
    hide();
    for (const part of all("details")) part.open = true;
  });
})();

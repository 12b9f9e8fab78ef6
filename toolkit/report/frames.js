// Reads the frames of a run: the dot nearest to the pointer, or one after the other with the arrow keys.
"use strict";
(() => {
  const { all, show, hide } = window.offramp;
  const spoken = document.getElementById("spoken");
  for (const part of all("[data-frames]")) {
    const data = JSON.parse(document.getElementById(part.dataset.frames).textContent);
    const late = new Set(data.late);
    const infeasible = new Set(data.infeasible);

    function told(i) {
      const budget = data.budget[i] === null ? "no budget" : `budget ${data.budget[i]} ms`;
      const lines = [`${data.exits[data.of[i]]}, frame ${data.frame[i]}`, `${data.ms[i]} ms, ${budget}`];
      if (data.answer[i]) lines.push(data.answer[i]);
      if (late.has(i)) lines.push("late");
      if (infeasible.has(i)) lines.push("no exit could meet this budget");
      return lines.join("\n");
    }

    all("svg.chart", part).forEach((chart, k) => {
      const places = data.at[k];
      const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      ring.setAttribute("r", "8");
      ring.setAttribute("class", "ring");
      ring.setAttribute("visibility", "hidden");
      chart.append(ring);
      chart.setAttribute("tabindex", "0");
      chart.setAttribute("aria-label", `${chart.getAttribute("aria-label")}. Arrow keys read frame by frame.`);
      const hidden = (i) => {
        const group = all("[data-of]", chart).find((g) => g.dataset.of === `exit-${data.of[i]}`);
        return Boolean(group && group.classList.contains("off"));
      };
      function ringAt(i) {
        ring.setAttribute("cx", places[i][0]);
        ring.setAttribute("cy", places[i][1]);
        ring.setAttribute("visibility", "visible");
      }
      function away() {
        ring.setAttribute("visibility", "hidden");
        hide();
      }
      function read(event) {
        const box = chart.getBoundingClientRect();
        const scale = chart.viewBox.baseVal.width / box.width;
        const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
        let best = -1;
        let least = 30 * 30;
        for (let i = 0; i < places.length; i += 1) {
          const square = (places[i][0] - x) ** 2 + (places[i][1] - y) ** 2;
          if (square < least && !hidden(i)) [best, least] = [i, square];
        }
        if (best < 0) return away();
        ringAt(best);
        show(told(best), event.clientX, event.clientY);
      }
      chart.addEventListener("pointermove", read);
      chart.addEventListener("pointerdown", read);
      chart.addEventListener("pointerleave", away);
      chart.addEventListener("blur", away);
      let at = -1;
      chart.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        at = (at + step + places.length) % places.length;
        ringAt(at);
        const box = ring.getBoundingClientRect();
        show(told(at), box.left, box.top);
        spoken.textContent = told(at).replaceAll("\n", ", ");
      });
    });
  }
  document.documentElement.setAttribute("data-drawn", "yes");
})();

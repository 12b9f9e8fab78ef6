// The slider of budgets: which exit the planner takes, and what is to be expected.
"use strict";
(() => {
  const { all } = window.offramp;
  for (const part of all("[data-outlook]")) {
    const data = JSON.parse(document.getElementById(part.dataset.outlook).textContent);
    const slider = part.querySelector("input[type=range]");
    const bars = all(".share", part);
    const fields = Object.fromEntries(all("[data-field]", part).map((e) => [e.dataset.field, e]));
    const charts = all("svg.chart", part);
    const percent = (share) => `${share < 0.0995 && share > 0 ? (100 * share).toFixed(1) : Math.round(100 * share)}%`;

    function move() {
      const i = Number(slider.value);
      const shares = data.shares[i];
      const ranked = data.exits
        .map((name, k) => [name, shares[k]])
        .filter(([, share]) => share >= 0.005)
        .sort((a, b) => b[1] - a[1]);
      fields.budget.textContent = data.budget[i];
      fields.exit.textContent = ranked.length ? ranked[0][0] : "none";
      fields.worth.textContent = data.worth[i];
      fields.late.textContent = data.late[i];
      fields.compute.textContent = data.compute[i];
      fields.note.textContent = data.met[i] ? "" : "Not to be relied on: even the quickest exit may need longer.";
      bars.forEach((bar, k) => {
        bar.querySelector("i").style.width = `${100 * shares[k]}%`;
        bar.querySelector("b").textContent = shares[k] >= 0.0005 ? percent(shares[k]) : "–";
      });
      charts.forEach((chart, k) => {
        chart.querySelector(".cursor").setAttribute("transform", `translate(${data.at[k][i]} 0)`);
      });
      const who = ranked.map(([name, share]) => `${name} ${percent(share)}`).join(", ") || "no exit";
      slider.setAttribute("aria-valuetext", `${data.budget[i]}: ${who}; ${data.worth[i]}, late ${data.late[i]}`);
    }

    slider.addEventListener("input", move);
    charts.forEach((chart, k) => {
      const to = (event) => {
        const box = chart.getBoundingClientRect();
        const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
        const away = data.at[k].map((at) => Math.abs(at - x));
        slider.value = String(away.indexOf(Math.min(...away)));
        move();
      };
      chart.addEventListener("pointerdown", to);
      chart.addEventListener("pointermove", (event) => event.pressure > 0 && event.pointerType === "mouse" && to(event));
    });
    part.classList.add("live");
    move();
  }
})();

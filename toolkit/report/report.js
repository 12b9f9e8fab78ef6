// Draws the charts of the page: gives them the colours of light, dark or paper, finds room for labels, and lets the
// keys of a legend switch their traces on and off.
"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const NARROW = 560;
  const PAPER_WIDTH = 680;
  const hidden = {};

  const hasWebGL = (() => {
    try {
      return Boolean(document.createElement("canvas").getContext("webgl"));
    } catch {
      return false;
    }
  })();

  // A copy of a spec in which every `var(--name)` is the colour that name has now.
  function resolve(value, styles) {
    if (typeof value === "string") {
      const match = /^var\((--[a-z0-9-]+)\)$/.exec(value);
      return match ? styles.getPropertyValue(match[1]).trim() : value;
    }
    if (Array.isArray(value)) {
      return typeof value[0] === "number" ? value.slice() : value.map((v) => resolve(v, styles));
    }
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v, styles)]));
    }
    return value;
  }

  async function draw(name, width) {
    const element = document.getElementById(name);
    const { data, layout, labels, narrow } = resolve(specs[name], getComputedStyle(root));
    const family = getComputedStyle(document.body).fontFamily;
    layout.width = width || element.clientWidth;
    const small = layout.width < NARROW;
    if (small) for (const [key, change] of Object.entries(narrow)) Object.assign(layout[key], change);
    layout.font = { ...layout.font, family, size: small ? 12 : layout.font.size };
    layout.dragmode = coarse ? false : "zoom"; // a finger scrolls the page, it does not select
    for (const trace of data) {
      if (trace.type === "scattergl" && !hasWebGL) trace.type = "scatter";
      trace.visible = !(hidden[name] && hidden[name].has(trace.legendgroup)) && !(small && trace.meta === "wide");
    }
    const config = {
      displaylogo: false,
      displayModeBar: coarse ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    };
    await Plotly.react(element, data, layout, config);
    if (labels.length) await Plotly.relayout(element, { annotations: place(element, data, labels, layout.font) });
  }

  // Labels beside points: each takes the nearest place where it covers no point, no error bar and no other label.
  // All are placed in turn, three times over, so that an early one can make way for a later one.
  function place(element, data, labels, font) {
    const { xaxis, yaxis } = element._fullLayout;
    const [width, height] = [xaxis._length, yaxis._length];
    const toX = (v) => ((v - xaxis.range[0]) / (xaxis.range[1] - xaxis.range[0])) * width;
    const toY = (v) => (1 - (v - yaxis.range[0]) / (yaxis.range[1] - yaxis.range[0])) * height;
    const size = font.size - 1;
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `${size}px ${font.family}`;
    const letters = (text) => new DOMParser().parseFromString(text, "text/html").body.textContent;
    const points = labels.map((l) => ({ x: toX(l.x), y: toY(l.y), width: pen.measureText(letters(l.text)).width }));
    const obstacles = points.map((p) => ({ l: p.x - 6, r: p.x + 6, t: p.y - 6, b: p.y + 6, cost: 3 }));
    for (const { x: [x], y: [y], error_x: ex, error_y: ey } of data.filter((trace) => trace.error_x)) {
      const [cx, cy] = [toX(x), toY(y)];
      obstacles.push({ l: toX(x - ex.arrayminus[0]), r: toX(x + ex.array[0]), t: cy - 1.5, b: cy + 1.5, cost: 0.6 });
      obstacles.push({ l: cx - 1.5, r: cx + 1.5, t: toY(y + ey.array[0]), b: toY(y - ey.arrayminus[0]), cost: 0.6 });
    }
    const places = points.map(() => null);
    for (let pass = 0; pass < 3; pass += 1) {
      points.forEach((point, i) => {
        const others = places.filter((other, j) => other && j !== i).map((other) => other.box);
        places[i] = nearest(point, size, width, height, obstacles.concat(others));
      });
    }
    const { leader, halo } = resolve({ leader: "var(--muted)", halo: "var(--halo)" }, getComputedStyle(root));
    return labels.map((label, i) => ({
      ...{ x: label.x, y: label.y, text: label.text, font: { size }, bgcolor: halo, borderpad: 0 },
      ...{ ax: places[i].x - points[i].x, ay: places[i].y - points[i].y },
      ...{ showarrow: true, arrowhead: 0, arrowwidth: 1, standoff: 7 },
      arrowcolor: places[i].reach > 0 ? leader : "rgba(0,0,0,0)",
    }));
  }

  function nearest(point, size, width, height, obstacles) {
    let best = null;
    for (const reach of [0, 14, 28, 44, 62, 84]) {
      for (const [dx, dy] of [[1, -1], [1, 1], [-1, -1], [-1, 1], [0, -1], [0, 1], [1, 0], [-1, 0]]) {
        const x = point.x + dx * (reach + 7 + point.width / 2);
        const y = point.y + dy * (reach + size);
        const box = { l: x - point.width / 2, r: x + point.width / 2, t: y - size * 0.6, b: y + size * 0.6, cost: 3 };
        const outside = Math.max(0, -box.l, box.r - width) + Math.max(0, -box.t, box.b - height);
        const covered = obstacles.reduce((sum, other) => sum + other.cost * overlap(box, other), 0);
        const cost = covered + 60 * outside + 2 * reach;
        if (best === null || cost < best.cost) best = { cost, x, y, box, reach };
      }
    }
    return best;
  }

  function overlap(a, b) {
    const across = Math.min(a.r, b.r) - Math.max(a.l, b.l);
    const down = Math.min(a.b, b.b) - Math.max(a.t, b.t);
    return across > 0 && down > 0 ? across * down : 0;
  }

  function drawAll(width) {
    return Promise.all(Object.keys(specs).map((name) => draw(name, width)));
  }

  for (const key of document.querySelectorAll("button.key")) {
    key.addEventListener("click", () => {
      const { chart, group } = key.dataset;
      const off = (hidden[chart] ??= new Set());
      if (!off.delete(group)) off.add(group);
      key.setAttribute("aria-pressed", String(!off.has(group)));
      draw(chart);
    });
  }

  let waiting = 0;
  let drawnWidth = root.clientWidth;
  addEventListener("resize", () => {
    if (root.clientWidth === drawnWidth) return; // a phone's address bar came or went
    drawnWidth = root.clientWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 120);
  });
  dark.addEventListener("change", () => drawAll());
  addEventListener("beforeprint", () => {
    root.dataset.scheme = "light";
    drawAll(PAPER_WIDTH);
  });
  addEventListener("afterprint", () => {
    delete root.dataset.scheme;
    drawAll();
  });
  drawAll().then(() => root.setAttribute("data-drawn", "yes"));
})();

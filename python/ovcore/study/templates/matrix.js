"use strict";
// The matrix of all pairs: any metric, in any order of models.
study.matrix = (() => {
  const { about, all, table, metrics, fill } = study.pairs;
  const m = about.models.length;
  const named = m <= 120; // names of more would hide each other
  const place = study.byId("matrix");
  const metric = study.byId("metric");
  const order = study.byId("order");
  fill(metric, Object.entries(metrics).map(([value, [words]]) => [value, words]));
  place.parentElement.style.setProperty("--least", `${named ? Math.min(760, 280 + 20 * m) : 760}px`);
  place.style.maxWidth = `${named ? Math.max(480, Math.min(1100, 320 + 40 * m)) : 1000}px`;

  // (M, M) in the order of `models`; null where undefined, and for a model with itself.
  function values(counts, formula, models) {
    const rows = models.map(() => new Array(m).fill(null));
    for (let r = 0; r < m; r++)
      for (let s = r + 1; s < m; s++) {
        const value = formula(table(counts, models[r], models[s]));
        if (Number.isFinite(value)) rows[r][s] = rows[s][r] = value;
      }
    return rows;
  }

  function quantile(sorted, q) {
    const at = q * (sorted.length - 1);
    const low = Math.floor(at);
    const high = Math.ceil(at);
    return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
  }

  // Few models far outside the accuracy range would take all the colours.
  function limits(z, models) {
    const between = (some) => {
      const found = z.flatMap((row, r) => row.filter((v, s) => s > r && v !== null && some(r) && some(s)));
      return Float64Array.from(found).sort();
    };
    let found = between((r) => about.in_range[models[r]]);
    if (!found.length) found = between(() => true);
    return found.length ? [quantile(found, 0.02), quantile(found, 0.98)] : [0, 1];
  }

  // To both its ends, so that one long name does not take the matrix's room.
  const shortened = (name) => (name.length <= 36 ? name : `${name.slice(0, 18)}…${name.slice(-17)}`);

  function marked(model) {
    const color = about.colors[about.category[model]];
    return `<span style="color:${color}">■</span> ${study.plain(shortened(about.models[model]))}`;
  }

  function axis(models, size) {
    const names = models.map((i) => study.plain(about.models[i]));
    const ticks = named
      ? { tickmode: "array", tickvals: names, ticktext: models.map(marked), tickfont: { size } }
      : { showticklabels: false, ticks: "" };
    return { type: "category", automargin: true, categoryorder: "array", categoryarray: names, ...ticks };
  }

  // Categories beside the rows, where there are no names to mark.
  function strip(models, names) {
    const k = about.categories.length;
    const steps = about.colors.flatMap((color, i) => [[i / k, color], [(i + 1) / k, color]]);
    return {
      type: "heatmap", x: ["category"], y: names, xaxis: "x2", z: models.map((i) => [about.category[i]]),
      text: models.map((i) => [about.categories[about.category[i]]]), hovertemplate: "%{y}<br>%{text}<extra></extra>",
      colorscale: steps, zmin: -0.5, zmax: k - 0.5, showscale: false,
    };
  }

  let decoded; // once it is there, drawing waits for nothing: printing cannot wait
  function drawNow() {
    const models = about.orders[order.value];
    const names = models.map((i) => study.plain(about.models[i]));
    const [words, formula] = metrics[metric.value];
    const z = values(decoded, formula, models);
    const [zmin, zmax] = limits(z, models);
    const gap = m <= 40 ? 1 : 0;
    const trace = {
      type: "heatmap", x: names, y: names, z, zmin, zmax, colorscale: "Cividis",
      xgap: gap, ygap: gap, hoverongaps: false,
      colorbar: { thickness: 14, title: { text: words, side: "right" } },
      hovertemplate: `%{y}<br>%{x}<br>${words} %{z:.4f}<extra></extra>`,
    };
    study.plots.draw(place, named ? [trace] : [trace, strip(models, names)], {
      xaxis2: { domain: [0, 0.02], showticklabels: false, ticks: "", fixedrange: true, visible: !named },
      height: named ? 220 + (m > 40 ? 13 : 18) * m : 880,
      dragmode: named ? false : "zoom",
      xaxis: { ...axis(models, Math.max(6, Math.min(10, 800 / m))), tickangle: -90, domain: [named ? 0 : 0.03, 1] },
      yaxis: { ...axis(models, 10), autorange: "reversed" },
    });
    place.setAttribute("aria-label", `Matrix of ${words} of all pairs of ${m} models; most of those `
      + `in the accuracy range lie between ${zmin.toFixed(4)} and ${zmax.toFixed(4)}.`);
    study.byId("matrix-note").textContent = "Colours run from the 2% to the 98% quantile of the "
      + "pairs of models in the accuracy range; what is beyond has the last colour. White: undefined. "
      + (named ? "The mark before a name is its category." : "The strip on the left has the "
        + "categories; names appear under the pointer, and dragging magnifies.");
    if (!listening) place.on("plotly_click", clicked);
    listening = true;
  }

  let listening = false;
  function clicked({ points: [point] }) {
    if (point.curveNumber > 0) return; // on the strip
    const models = about.orders[order.value];
    study.pair.choose(models[point.pointIndex[0]], models[point.pointIndex[1]]);
  }

  async function draw() {
    decoded = await all();
    drawNow();
  }

  const button = study.byId("draw-matrix");
  if (button)
    button.addEventListener("click", () => {
      button.hidden = true;
      draw();
    });
  else study.plots.whenNear(place, draw);
  for (const select of [metric, order])
    select.addEventListener("change", () => {
      if (!button || button.hidden) draw();
    });
  // A few models' counts are decoded while nothing else is to do, so that printing finds them.
  if (!about.many)
    requestIdleCallback(async () => {
      decoded = await all();
    });

  const drawnForPrint = () => {
    if (decoded && !about.many && !listening) drawNow();
  };
  return { drawnForPrint, isReady: () => decoded !== undefined };
})();

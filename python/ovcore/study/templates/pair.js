"use strict";
// One pair: its joint table, its ensemble, its angles, and the classes it disagrees on.
study.pair = (() => {
  const { about, all, array, table, metrics, fill } = study.pairs;
  const MOST_CLASSES = 15;
  const ONLY_A = "#1c1c1e";
  const ONLY_B = "#d55e00";
  const first = study.byId("model-a");
  const second = study.byId("model-b");
  const bits = study.once(() => Promise.all([array("bits"), array("classes")]));
  const blocks = new Map(); // angles of the pairs of a first model, decoded when one is asked for

  const choices = about.models.map((name, i) => [i, name]);
  for (const select of [first, second]) fill(select, [["", "choose a model"], ...choices]);

  const put = (name, text) => {
    for (const place of document.querySelectorAll(`[data-fill="${name}"]`)) place.textContent = text;
  };
  const count = (value) => value.toLocaleString("en");
  const share = (part, whole) => `${count(part)} (${((100 * part) / whole).toFixed(2)}%)`;
  const fixed = (value) => (Number.isFinite(value) ? value.toFixed(4).replace("-", "−") : "undefined");

  function writeNumbers(a, b, t) {
    put("names", `A: ${about.models[a]}, B: ${about.models[b]}`);
    put("category", about.categories[t.kind]);
    document.querySelector("[data-fill=category]").style.setProperty("--c", about.colors[t.kind]);
    for (const outcome of ["n11", "n10", "n01", "n00"]) put(outcome, share(t[outcome], t.n));
    const parts = {
      conversion_rate: `${count(t.conversions || 0)} of ${count(t.n10 + t.n01)}: `,
      rescue_rate: `${count(t.rescues || 0)} of ${count(t.n00)}: `,
    };
    const rows = [
      ["accuracy of A", fixed((t.n11 + t.n10) / t.n)],
      ["accuracy of B", fixed((t.n11 + t.n01) / t.n)],
      ...Object.entries(metrics).map(([key, [words, of]]) => [words, (parts[key] || "") + fixed(of(t))]),
    ];
    study.byId("pair-metrics").replaceChildren(...rows.map(([words, value]) => {
      const group = document.createElement("div");
      for (const [tag, text] of [["dt", words], ["dd", value]])
        group.appendChild(document.createElement(tag)).textContent = text;
      return group;
    }));
    put("lacking", Object.values(about.lacking).join(" "));
  }

  // Samples by angle where only A, and where only B, is right.
  async function angles(a, b) {
    const [i, j] = a < b ? [a, b] : [b, a];
    if (!blocks.has(i)) blocks.set(i, array(`theta-${i}`));
    const at = (j - i - 1) * 2 * about.bins;
    const block = (await blocks.get(i)).slice(at, at + 2 * about.bins);
    const [onlyI, onlyJ] = [[...block.slice(0, about.bins)], [...block.slice(about.bins)]];
    // Seen from the other model, an angle changes its sign.
    return a < b ? [onlyI, onlyJ] : [onlyJ.reverse(), onlyI.reverse()];
  }

  // Samples by class that only A, and that only B, gets right; the classes with most of them.
  async function disagreeing(a, b) {
    const [wrong, classes] = await bits();
    const width = Math.ceil(about.n_samples / 8);
    const isWrong = (model, n) => (wrong[model * width + (n >> 3)] >> (n & 7)) & 1;
    const found = about.class_names.map((name) => ({ name, onlyA: 0, onlyB: 0 }));
    for (let n = 0; n < about.n_samples; n++) {
      const ofA = isWrong(a, n);
      if (ofA !== isWrong(b, n)) found[classes[n]][ofA ? "onlyB" : "onlyA"] += 1;
    }
    const total = (c) => c.onlyA + c.onlyB;
    return found.filter(total).sort((x, y) => total(y) - total(x)).slice(0, MOST_CLASSES);
  }

  const legend = { orientation: "h", x: 0, y: 1.02, yref: "paper", yanchor: "bottom", traceorder: "normal" };

  function drawAngles([onlyA, onlyB], height) {
    const width = 90 / about.bins;
    const x = onlyA.map((_, i) => -45 + (i + 0.5) * width);
    const steps = (y, name, color, more) => ({
      type: "scatter", mode: "lines", x, y, name, line: { color, shape: "hvh", width: 2, ...more },
      hovertemplate: `%{x:.1f}° ± ${width / 2}°: %{y}<extra>${name}</extra>`,
    });
    const data = [
      { ...steps(onlyB, "only B is right", ONLY_B), fill: "tozeroy", fillcolor: "rgba(213,94,0,0.18)" },
      steps(onlyA, "only A is right", ONLY_A, { dash: "dot" }),
    ];
    const ticks = { tickvals: [-45, 0, 45], ticktext: ["−45°", "0°", "45°"] };
    const title = { text: "θ: right of 0° A is the surer" };
    study.plots.draw(study.byId("pair-theta"), data, {
      height, margin: { t: 40 }, showlegend: true, legend, xaxis: { range: [-45, 45], title, ...ticks },
      yaxis: { rangemode: "tozero", title: { text: "samples" } },
      shapes: [{ type: "line", x0: 0, x1: 0, y0: 0, y1: 1, yref: "paper", line: { color: "#66666b", width: 1 } }],
    });
    const surer = onlyA.slice(about.bins / 2).concat(onlyB.slice(0, about.bins / 2));
    const sum = (values) => values.reduce((total, value) => total + value, 0);
    study.byId("pair-theta").setAttribute("aria-label", "Samples by angle. The model that is right "
      + `alone is the surer on ${count(sum(surer))} of ${count(sum(onlyA) + sum(onlyB))} samples.`);
  }

  function drawClasses(found, height) {
    const names = found.map(({ name }, i) => ({ at: i, text: name.length > 24 ? `${name.slice(0, 23)}…` : name }));
    const bars = (key, name, color, pattern) => ({
      type: "bar", orientation: "h", y: names.map(({ at }) => at), x: found.map((c) => c[key]), name,
      marker: { color, pattern: { shape: pattern } }, hovertext: found.map((c) => study.plain(c.name)),
      hovertemplate: `%{hovertext}: %{x}<extra>${name}</extra>`,
    });
    const data = [bars("onlyA", "only A is right", ONLY_A, ""), bars("onlyB", "only B is right", ONLY_B, "")];
    study.plots.draw(study.byId("pair-classes"), data, {
      height, margin: { t: 40 }, showlegend: true, legend, barmode: "stack",
      xaxis: { title: { text: "samples" }, rangemode: "tozero" },
      yaxis: { autorange: "reversed", tickvals: names.map(({ at }) => at), tickfont: { size: 11 },
        ticktext: names.map(({ text }) => study.plain(text)) },
    });
    study.byId("pair-classes").setAttribute("aria-label", found.length
      ? `Only A, only B right: ${found.map((c) => `${c.name} ${c.onlyA}, ${c.onlyB}`).join("; ")}.`
      : "There is no such sample.");
  }

  async function show() {
    const [a, b] = [first.value, second.value].map(Number);
    const ready = first.value !== "" && second.value !== "" && a !== b;
    const hint = study.byId("pair-hint");
    if (!ready) {
      study.byId("pair-shown").hidden = true;
      hint.hidden = false;
      hint.textContent = first.value !== "" && a === b
        ? "A pair takes two different models."
        : "Choose two models, or click on a cell of the matrix.";
      return;
    }
    const hasAngles = !("theta" in about.lacking);
    const hasClasses = !("classes" in about.lacking);
    const [counts, theta, classes] = await Promise.all([
      all(), hasAngles && angles(a, b), hasClasses && disagreeing(a, b),
    ]);
    if (Number(first.value) !== a || Number(second.value) !== b) return; // another was chosen
    writeNumbers(a, b, table(counts, a, b));
    hint.hidden = true;
    study.byId("pair-shown").hidden = false;
    study.byId("pair-theta-figure").hidden = !hasAngles;
    study.byId("pair-classes-figure").hidden = !hasClasses;
    const height = hasClasses ? Math.max(320, 90 + 20 * classes.length) : 320;
    if (hasAngles) drawAngles(theta, height);
    if (hasClasses) drawClasses(classes, height);
  }

  function choose(a, b) {
    first.value = a;
    second.value = b;
    return show();
  }
  for (const select of [first, second]) select.addEventListener("change", show);
  if (first.value !== "" || second.value !== "") show(); // a page that is opened again

  return { choose };
})();

"use strict";
// Counts of all pairs of models, and the metrics that divide them.
study.pairs = (() => {
  const about = study.json("pairs-about");
  const n = about.n_samples;
  const m = about.models.length;
  const hasEnsembles = "hits" in about.types;
  const names = ["joint", "kind", ...(hasEnsembles ? ["hits", "conversions", "rescues"] : [])];
  const array = (name) => study.counts(`pairs-${name}`, about.types[name]);

  // Arrays of all pairs; decoded once.
  const all = study.once(async () => {
    const arrays = await Promise.all(names.map(array));
    return Object.fromEntries(names.map((name, i) => [name, arrays[i]]));
  });

  // Of a pair in the arrays of pairs a < b.
  function place(i, j) {
    const [a, b] = i < j ? [i, j] : [j, i];
    return (a * (2 * m - a - 1)) / 2 + (b - a - 1);
  }

  // The joint table of models i and j, and what their ensemble gets right.
  function table(counts, i, j) {
    const at = place(i, j);
    const n00 = counts.joint[at];
    const n01 = about.wrong[i] - n00;
    const n10 = about.wrong[j] - n00;
    const of = { n, n00, n01, n10, n11: n - n00 - n01 - n10, kind: counts.kind[at] };
    if (hasEnsembles) {
      of.hits = counts.hits[at];
      of.conversions = counts.conversions[at];
      of.rescues = counts.rescues[at];
    }
    return of;
  }

  const apart = (t) => t.n10 + t.n01;
  // N squared times the inconsistency of independent errors at the same accuracies.
  const byChance = (t) => (t.n11 + t.n10) * (t.n10 + t.n00) + (t.n01 + t.n00) * (t.n11 + t.n01);
  const together = (t) => t.n11 * t.n00;
  const crossed = (t) => t.n01 * t.n10;
  const variances = (t) => (t.n11 + t.n10) * (t.n01 + t.n00) * ((t.n11 + t.n01) * (t.n10 + t.n00));

  // 0 / 0 is NaN: undefined of such a pair.
  const metrics = {
    error_inconsistency: ["error inconsistency", (t) => apart(t) / n],
    relative_to_chance: ["inconsistency relative to chance", (t) => (apart(t) * n) / byChance(t)],
    error_consistency: ["error consistency κ", (t) => 1 - (apart(t) * n) / byChance(t)],
    error_correlation: ["error correlation", (t) => (together(t) - crossed(t)) / Math.sqrt(variances(t))],
    double_fault: ["double fault", (t) => t.n00 / n],
    q_statistic: ["Q statistic", (t) => (together(t) - crossed(t)) / (together(t) + crossed(t))],
  };
  if (hasEnsembles) {
    const right = (t) => [t.n11 + t.n10, t.n11 + t.n01];
    Object.assign(metrics, {
      ensemble_accuracy: ["ensemble accuracy", (t) => t.hits / n],
      gain: ["gain over the mean", (t) => (2 * t.hits - right(t)[0] - right(t)[1]) / (2 * n)],
      gain_over_best: ["gain over the better", (t) => (t.hits - Math.max(...right(t))) / n],
      conversion_rate: ["conversion rate", (t) => t.conversions / apart(t)],
      rescue_rate: ["rescue rate", (t) => t.rescues / t.n00],
    });
  }

  // A list of choices in a <select>: [value, words].
  function fill(select, choices) {
    select.append(...choices.map(([value, words]) => new Option(words, value)));
  }

  return { about, all, array, table, metrics, fill };
})();

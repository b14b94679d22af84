"use strict";
// The table of models: sorted by any column, filtered by text, category and accuracy range.
(() => {
  const table = study.byId("models-table");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const collator = new Intl.Collator("en", { numeric: true });

  // Exact values, not what is printed; "" stands for none.
  const valueOf = (row, column) => row.cells[column].dataset.value;

  // Rows of equal value stay in the order they are in; those of none are last either way.
  function sort(column, direction) {
    const isNumber = "number" in heads[column].dataset;
    const compare = isNumber ? (a, b) => Number(a) - Number(b) : collator.compare;
    const keyed = [...body.rows].map((row) => [valueOf(row, column), row]);
    keyed.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      return direction * compare(a, b);
    });
    body.append(...keyed.map(([, row]) => row));
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[column].setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  }

  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      sort(column, head.getAttribute("aria-sort") === "ascending" ? -1 : 1);
    });
  });

  const text = study.byId("filter-text");
  const range = study.byId("filter-range");
  const boxes = [...document.querySelectorAll("#models-filter input[name=category]")];
  const searched = heads.flatMap((head, i) => (["model", "method", "head"].includes(head.dataset.name) ? [i] : []));
  const words = new Map(rows.map((row) => [row, searched.map((i) => valueOf(row, i)).join("\n").toLowerCase()]));

  function filter() {
    const wanted = text.value.trim().toLowerCase();
    const categories = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    for (const row of rows) {
      const outside = range.checked && row.classList.contains("outside");
      row.hidden = outside || !categories.has(row.dataset.category) || !words.get(row).includes(wanted);
      shown += !row.hidden;
    }
    const count = (n) => n.toLocaleString("en");
    study.byId("models-count").textContent = `${count(shown)} of ${count(rows.length)} models`;
  }
  text.addEventListener("input", filter);
  for (const box of [range, ...boxes]) box.addEventListener("change", filter);
  filter(); // a page that is opened again keeps what was typed
})();

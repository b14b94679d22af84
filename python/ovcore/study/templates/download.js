"use strict";
// Buttons that save a table as CSV, with all digits.
(() => {
  const field = (value) => {
    if (value === null) return "";
    if (value === true || value === false) return value ? "True" : "False";
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };

  function csv(columns) {
    const names = Object.keys(columns);
    const n = names.length ? columns[names[0]].length : 0;
    const lines = [names.map(field).join(",")];
    for (let row = 0; row < n; row++) lines.push(names.map((name) => field(columns[name][row])).join(","));
    return `${lines.join("\n")}\n`;
  }

  function save({ source, table, file }) {
    const blob = new Blob([csv(study.json(source)[table])], { type: "text/csv" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000); // a slow save still reads it
  }

  for (const button of document.querySelectorAll("[data-source]"))
    button.addEventListener("click", () => save(button.dataset));
})();

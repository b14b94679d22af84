"use strict";
// Before printing all figures are drawn as wide as the paper, and all details are open.
(() => {
  const closed = [];
  // At once: Plotly.Plots.resize waits, and printing does not.
  const resize = () => {
    for (const place of document.querySelectorAll(".js-plotly-plot"))
      if (place.offsetParent) Plotly.relayout(place, { autosize: true });
  };

  addEventListener("beforeprint", () => {
    document.body.classList.add("printing");
    study.plots.drawAll();
    study.matrix.drawnForPrint();
    for (const details of document.querySelectorAll("details:not([open])")) {
      details.open = true;
      closed.push(details);
    }
    resize();
  });

  addEventListener("afterprint", () => {
    document.body.classList.remove("printing");
    for (const details of closed.splice(0)) details.open = false;
    resize();
  });
})();

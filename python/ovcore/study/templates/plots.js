"use strict";
// Figures: drawn when they come near the window, or all at once before printing.
study.plots = (() => {
  const config = { responsive: true, displayModeBar: false };
  const template = study.once(() => study.json("template"));

  // A finger that moves scrolls the page; a mouse magnifies.
  const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";

  function draw(place, data, layout) {
    Plotly.react(place, data, { dragmode, ...layout, template: template() }, config);
    // What a figure shows is in its own words; plotly measures text in an SVG beyond the page.
    for (const svg of document.querySelectorAll(".main-svg, #js-plotly-tester"))
      svg.setAttribute("aria-hidden", "true");
  }

  function drawPanel(place) {
    if (place.classList.contains("js-plotly-plot")) return;
    const { data, layout } = study.json(place.dataset.panel);
    draw(place, data, layout);
  }

  // Calls `then` once, when the element is less than a screen away.
  function whenNear(element, then) {
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      then();
    }, { rootMargin: "600px" });
    observer.observe(element);
  }

  const panels = [...document.querySelectorAll("[data-panel]")];
  for (const place of panels) whenNear(place, () => drawPanel(place));

  // What a click on a legend's entry does: shows a layer that is hidden at first.
  function showLayer(place, shown, layer) {
    const name = study.plain(layer);
    const traces = place.data.flatMap((trace, i) => (trace.name === name ? [i] : []));
    if (traces.length) Plotly.restyle(place, { visible: shown ? true : "legendonly" }, traces);
  }

  // What a double click does: axes that hold all points, or those of the start again.
  function showBeyond(place, shown) {
    const { layout } = study.json(place.dataset.panel);
    const changes = {};
    for (const axis of ["xaxis", "yaxis"])
      if (layout[axis] && layout[axis].range && !layout[axis].tickvals) {
        if (shown) changes[`${axis}.autorange`] = true;
        else changes[`${axis}.range`] = layout[axis].range;
      }
    Plotly.relayout(place, changes);
  }

  // Buttons for these, of all panels of a figure.
  for (const button of document.querySelectorAll("[data-figure]"))
    button.addEventListener("click", () => {
      const pressed = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", pressed);
      for (const place of study.byId(button.dataset.figure).querySelectorAll("[data-panel]")) {
        drawPanel(place);
        if (button.dataset.layer) showLayer(place, pressed, button.dataset.layer);
        else showBeyond(place, pressed);
      }
    });

  return { draw, whenNear, drawAll: () => panels.forEach(drawPanel) };
})();

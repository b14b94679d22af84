"""A report as one HTML file: its text, its tables, its figures' data and plotly to draw them."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from urllib.parse import quote

import jinja2
from plotly.offline import get_plotlyjs

from ovcore.study.charts import COLORS, GREY, Bars, Panel, Points, Ribbon, Rule
from ovcore.study.page.legend import shared_legend
from ovcore.study.page.pair_data import pair_data
from ovcore.study.page.report import Report
from ovcore.study.page.tables import table_of
from ovcore.study.paint import on_page
from ovcore.study.pairs import errors_over
from ovcore.study.results import FAILS, HOLDS, UNCLEAR
from ovcore.study.subject import place

_NEGATIVE = re.compile(r"(?<=[\s\[(])-(?=\d)")
_VERDICT_CLASSES = {HOLDS: "holds", FAILS: "fails", UNCLEAR: "unclear"}


def render(report: Report) -> str:
    """The page as text; of the same report the same but for the date, in its one <time>."""
    loader = jinja2.PackageLoader("ovcore.study")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "embedded": _embedded,
        "embedded_text": lambda value: json.dumps(value, indent=1, ensure_ascii=False),
        "drawn": _drawn,
        "with_minus": lambda text: _NEGATIVE.sub("−", text),
        "hidden_names": _hidden_names,
        "shared_legend": shared_legend,
        "table": table_of,
        "color": lambda category: COLORS.get(category, GREY),
        "verdict_class": _VERDICT_CLASSES.__getitem__,
        "file_name": lambda words: words.replace(" ", "-"),
        "quoted": quote,
    }
    environment.tests["has_points_beyond"] = _has_points_beyond
    environment.globals["source"] = lambda name: loader.get_source(environment, name)[0]
    subject = report.subject
    return environment.get_template("study.html.j2").render(
        report=report,
        subject=subject,
        has_findings=any(section.result.findings for section in report.sections),
        pairs=pair_data(report),
        n_models=len(subject.first.names),
        n_samples=subject.first.comparison.n_samples,
        model_columns={name: report.models[name].tolist() for name in report.models},
        categories=sorted(dict.fromkeys(report.models["category"]), key=place),
        standard_errors=errors_over(subject),
        template=on_page.template(),
        plotly=get_plotlyjs(),
    )


def _embedded(value: Any) -> str:
    """JSON for a script element, which a "<" could end; NaN is null, infinity a text."""
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def _drawn(panel: Panel, height: int, legend: bool) -> dict[str, Any]:
    return on_page.panel(panel, height=height, legend=legend)


def _hidden_names(panels: tuple[Panel, ...]) -> list[str]:
    """Names in the legend of what is shown when it is asked for alone."""
    layers = [layer for panel in panels for layer in panel.layers]
    return list(
        dict.fromkeys(
            layer.name
            for layer in layers
            if not isinstance(layer, Bars | Ribbon | Rule) and layer.hidden
        )
    )


def _has_points_beyond(panel: Panel) -> bool:
    """Whether the axes leave marks out."""
    points = [layer for layer in panel.layers if isinstance(layer, Points) and not layer.hidden]
    return any(
        axis.limits is not None
        and any(not axis.limits[0] <= v <= axis.limits[1] for v in values if v == v)
        for layer in points
        for axis, values in ((panel.x, layer.x), (panel.y, layer.y))
    )

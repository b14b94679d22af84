"""One legend for all panels of a chart, where they have the same names in theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ovcore.study.charts import GREY, Bars, Chart, Line, Panel, Points, Ribbon
from ovcore.study.paint.layers import drawn, legend_entries


@dataclass(frozen=True)
class Entry:
    """A name and its mark.

    Attributes:
        name: what is marked.
        color: of the mark; grey where it is another in each panel.
        symbol: circle, square, ...; "" for none.
        dash: of a line, solid, dash or dot; "" for none.
        area: whether the mark is a filled area.
        hollow: whether the symbol is an outline.
    """

    name: str
    color: str
    symbol: str
    dash: str
    area: bool
    hollow: bool


def shared_legend(chart: Chart) -> list[Entry]:
    """Entries of the one legend; none where a panel is alone or panels have names of their own."""
    named = [_entries(panel) for panel in chart.panels]
    named = [entries for entries in named if entries]
    if len(chart.panels) < 2 or not named or any(set(n) != set(named[0]) for n in named):
        return []
    return [
        entry
        if len({entries[name].color for entries in named}) == 1
        else replace(entry, color=GREY)
        for name, entry in named[0].items()
    ]


def _entries(panel: Panel) -> dict[str, Entry]:
    """By name, of what is shown from the start."""
    found = {}
    for name, layer in legend_entries(drawn(panel.layers)).items():
        if isinstance(layer, Points) and not layer.hidden:
            found[name] = Entry(name, layer.color, layer.symbol, "", False, layer.hollow)
        elif isinstance(layer, Line) and not layer.hidden:
            found[name] = Entry(name, layer.color, layer.marked, layer.dash, False, False)
        elif isinstance(layer, Bars | Ribbon):
            found[name] = Entry(name, layer.color, "", "", True, False)
    return found

"""What both painters make of a panel's layers."""

from __future__ import annotations

from collections.abc import Iterable

from ovcore.study.charts import Layer, Ribbon, Rule

FADED = 0.18
"""How opaque areas are."""


def drawn(layers: Iterable[Layer]) -> list[Layer]:
    """Those that have something to draw."""
    return [layer for layer in layers if isinstance(layer, Rule) or layer.x]


def legend_entries(layers: Iterable[Layer]) -> dict[str, Layer]:
    """Of every name the layer that stands for it in a legend: where it can be, no ribbon."""
    entries: dict[str, Layer] = {}
    for layer in layers:
        if isinstance(layer, Rule) or not layer.name:
            continue
        if layer.name not in entries or (
            isinstance(entries[layer.name], Ribbon) and not isinstance(layer, Ribbon)
        ):
            entries[layer.name] = layer
    return entries


def rule_levels(layers: Iterable[Layer]) -> dict[float, int]:
    """On which line above the panel the text of an upright rule is: neighbours alternate."""
    rules = (layer for layer in layers if isinstance(layer, Rule))
    places = sorted({rule.at for rule in rules if rule.axis == "x" and rule.text})
    return {at: place % 2 for place, at in enumerate(places)}

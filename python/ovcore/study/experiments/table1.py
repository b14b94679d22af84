"""Table 1: the models in the accuracy range."""

from __future__ import annotations

from ovcore.study.experiments.tables import table

EXPERIMENT = table(
    1,
    "Models near the base’s accuracy",
    "Every model in the accuracy range against the base: temperature, accuracy, error "
    "inconsistency, and the ensemble of the two.",
    lambda rows, _subject: rows["in_range"] | (rows["category"] == "BASE"),
)
run = EXPERIMENT.run

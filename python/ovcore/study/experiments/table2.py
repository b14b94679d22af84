"""Table 2: more accurate models."""

from __future__ import annotations

from ovcore.study.experiments.tables import above, close, table

EXPERIMENT = table(
    2,
    "More accurate models",
    "Models above the accuracy range, but for those of the base’s own recipe, against the base.",
    lambda rows, subject: above(rows, subject) & ~close(rows),
)
run = EXPERIMENT.run

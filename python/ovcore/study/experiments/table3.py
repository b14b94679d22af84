"""Table 3: less accurate models that were trained differently."""

from __future__ import annotations

from ovcore.study.experiments.tables import below, close, table

EXPERIMENT = table(
    3,
    "Less accurate models, trained differently",
    "Models below the accuracy range, but for those of the base’s own recipe, against the base.",
    lambda rows, subject: below(rows, subject) & ~close(rows),
)
run = EXPERIMENT.run

"""Table 4: models of the base's own recipe outside the accuracy range."""

from __future__ import annotations

from ovcore.study.experiments.tables import close, table

EXPERIMENT = table(
    4,
    "The base’s recipe outside the accuracy range",
    "Models that differ from the base by their seed or hyper-parameters alone and are less, or "
    "more, accurate than the range.",
    lambda rows, _subject: ~rows["in_range"] & close(rows),
)
run = EXPERIMENT.run

"""The paper's figures and tables, one file each.

Each module has ``run``, which takes a store (or a subject made of one) and gives a
:class:`~ovcore.study.results.Result`, and ``EXPERIMENT``, which names, defines and draws it.
"""

from __future__ import annotations

from ovcore.study.experiments import (
    fig1,
    fig2,
    fig3,
    fig4,
    fig5,
    fig6,
    fig7,
    fig8,
    table1,
    table2,
    table3,
    table4,
)

_MODULES = (fig1, fig2, fig3, fig4, fig5, fig6, fig7, fig8, table1, table2, table3, table4)
EXPERIMENTS = {module.EXPERIMENT.name: module.EXPERIMENT for module in _MODULES}
"""All of them by name, in the order of the page."""

"""Outputs that other tools wrote, brought to a store.

Each reader takes the files of one or more models and gives :class:`Outputs`, a common form.
:func:`import_outputs` joins several of them, by sample id or by position, and writes a store:

    models = [*read_arrays("top5.npz"), *read_arrays("resnet.csv", kind="logits")]
    for report in import_outputs(models, "store"):
        print(report)
"""

from __future__ import annotations

from ovcore.importers._arrays import read_arrays
from ovcore.importers._helm import read_helm
from ovcore.importers._inspect import read_inspect
from ovcore.importers._joining import ImportReport
from ovcore.importers._labels import read_labels
from ovcore.importers._lm_eval import read_lm_eval
from ovcore.importers._model_vs_human import read_model_vs_human
from ovcore.importers._outputs import Labels, Outputs
from ovcore.importers._sklearn import read_sklearn
from ovcore.importers._writing import import_outputs

__all__ = [
    "ImportReport",
    "Labels",
    "Outputs",
    "import_outputs",
    "read_arrays",
    "read_helm",
    "read_inspect",
    "read_labels",
    "read_lm_eval",
    "read_model_vs_human",
    "read_sklearn",
]

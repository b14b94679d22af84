"""Compare many trained classifiers at once.

Kernels count; metrics divide: compiled kernels turn logits and predictions into small integer
tables, and every metric is a line of arithmetic on those tables.

>>> import numpy as np, ovcore as ov
>>> preds = np.array([[0, 1, 2, 2], [0, 1, 1, 2], [2, 1, 2, 2]])
>>> errors = ov.pack_errors(preds, target=np.array([0, 1, 2, 2]))
>>> ov.pairwise.error_inconsistency(errors)
array([[0.  , 0.25, 0.25],
       [0.25, 0.  , 0.5 ],
       [0.25, 0.5 , 0.  ]])
"""

from ovcore import (
    calibration,
    ensembles,
    groups,
    intervals,
    pairwise,
    representations,
    significance,
    store,
)
from ovcore._dispatch import BackendUnavailableError, limit_workers
from ovcore.comparison import Comparison, compare
from ovcore.counts import PairCounts
from ovcore.errors import ErrorBits, JointErrors
from ovcore.packing import pack_errors
from ovcore.topk import TopK

__all__ = [
    "BackendUnavailableError",
    "Comparison",
    "ErrorBits",
    "JointErrors",
    "PairCounts",
    "TopK",
    "calibration",
    "compare",
    "ensembles",
    "groups",
    "intervals",
    "limit_workers",
    "pack_errors",
    "pairwise",
    "representations",
    "significance",
    "store",
]


def __getattr__(name: str) -> str:
    """``__version__``, looked up when asked for: importlib.metadata is half as costly as numpy."""
    if name == "__version__":
        from importlib.metadata import version

        return version("ovcore")
    raise AttributeError(f"module 'ovcore' has no attribute {name!r}")

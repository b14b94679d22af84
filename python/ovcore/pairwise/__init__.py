"""How differently do the models of each pair err: every metric is arithmetic on joint errors.

Notation, for models a (row) and b (column) on N samples: n11 both right, n10 only a right, n01
only b right, n00 both wrong; p_a, p_b their accuracies. Functions of ``errors`` take
:class:`~ovcore.ErrorBits` or :class:`~ovcore.JointErrors` of M models and return an (M, M) float64
matrix in the library that the errors came from; ``prediction_diversity`` returns (M,). Where models
lack samples, all of these are counted on the samples that both have; NaN where they share none.

``joint_agreement``, ``label_disagreement``, ``same_wrong_answer`` and ``capa`` compare what was
predicted, not only whether it was right, and so take predictions. For intervals and standard errors
see :mod:`ovcore.intervals`; for groups of more than two, :mod:`ovcore.groups`.

``nearest``, ``pairs_within`` and ``write_matrix`` are for models so many that an (M, M) matrix is
too large: they go through it in blocks.
"""

from ovcore.agreement import capa, joint_agreement, label_disagreement, same_wrong_answer
from ovcore.pairwise._matrix import write_matrix
from ovcore.pairwise._metrics import (
    FORMULAS as FORMULAS,
)
from ovcore.pairwise._metrics import (
    accuracy_difference,
    dominance,
    double_fault,
    error_consistency,
    error_consistency_bounds,
    error_correlation,
    error_covariance,
    error_inconsistency,
    joint_errors,
    prediction_diversity,
    q_statistic,
    relative_inconsistency,
)
from ovcore.pairwise._nearest import Neighbors, nearest
from ovcore.pairwise._within import Pairs, pairs_within
from ovcore.significance import mcnemar

__all__ = [
    "Neighbors",
    "Pairs",
    "accuracy_difference",
    "capa",
    "dominance",
    "double_fault",
    "error_consistency",
    "error_consistency_bounds",
    "error_correlation",
    "error_covariance",
    "error_inconsistency",
    "joint_agreement",
    "joint_errors",
    "label_disagreement",
    "mcnemar",
    "nearest",
    "pairs_within",
    "prediction_diversity",
    "q_statistic",
    "relative_inconsistency",
    "same_wrong_answer",
    "write_matrix",
]

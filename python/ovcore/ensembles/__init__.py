"""What ensembles of models predict, what pairs and greedy selections of them buy, and why."""

from ovcore.ensembles._add import Additions, what_to_add
from ovcore.ensembles._greedy import GreedySelection, greedy
from ovcore.ensembles._pairs import PairEnsembles, PairStats, pairs
from ovcore.ensembles._predict import accuracy, predict
from ovcore.ensembles._specialize import ClassSpecialization, Specialization, specialization

__all__ = [
    "Additions",
    "ClassSpecialization",
    "GreedySelection",
    "PairEnsembles",
    "PairStats",
    "Specialization",
    "accuracy",
    "greedy",
    "pairs",
    "predict",
    "specialization",
    "what_to_add",
]

"""What ensembles of models predict, what pairs and greedy selections of them buy, and why."""

from ovcore.ensembles._pairs import PairEnsembles, pairs
from ovcore.ensembles._specialize import ClassSpecialization, Specialization, specialization

__all__ = [
    "ClassSpecialization",
    "PairEnsembles",
    "Specialization",
    "pairs",
    "specialization",
]

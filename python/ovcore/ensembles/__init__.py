"""What ensembles of models predict, what pairs and greedy selections of them buy, and why."""

from ovcore.ensembles._pairs import PairEnsembles, pairs

__all__ = ["PairEnsembles", "pairs"]

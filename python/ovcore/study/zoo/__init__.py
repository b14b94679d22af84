"""The built-in zoo: 59 small classifiers of real handwritten digits, trained offline.

They differ as the models of the study do: in seed, hyper-parameters, architecture, training
framework and training data. Each is a pair of instances, trained in two halves of the images
and each tested on the other half.
"""

from __future__ import annotations

from ovcore.study.zoo.assembly import ZooSplit, build
from ovcore.study.zoo.digits import load_digits_images
from ovcore.study.zoo.recipe import Recipe

__all__ = ["Recipe", "ZooSplit", "build", "load_digits_images"]

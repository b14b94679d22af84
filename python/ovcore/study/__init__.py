"""The paper's study: does training differently make models err differently, and what does it buy?

After Gontijo-Lopes, Dauphin and Cubuk, "No One Representation to Rule Them All" (ICLR 2022).
``run("out")`` makes all of it of the built-in zoo, ``run("out", subject=from_store("outputs"))`` of
a store; ``experiments.fig2.run("outputs")`` is one figure's numbers.
"""

from ovcore.study import experiments
from ovcore.study.experiments import EXPERIMENTS
from ovcore.study.of_store import from_store
from ovcore.study.of_zoo import from_zoo
from ovcore.study.running import run
from ovcore.study.subject import Subject

__all__ = ["EXPERIMENTS", "Subject", "experiments", "from_store", "from_zoo", "run"]

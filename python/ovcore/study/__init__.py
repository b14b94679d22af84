"""The paper's study: does training differently make models err differently, and what does it buy?

After Gontijo-Lopes, Dauphin and Cubuk, "No One Representation to Rule Them All" (ICLR 2022).
"""

from ovcore.study.report import run

__all__ = ["run"]

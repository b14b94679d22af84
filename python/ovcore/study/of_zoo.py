"""The built-in zoo as a subject."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

import ovcore as ov
from ovcore.study.subject import Split, Subject, compared
from ovcore.study.zoo import Recipe, ZooSplit


def from_zoo(recipe: Recipe, splits: list[ZooSplit], *, progress: bool = False) -> Subject:
    """Each half is calibrated on images of its own and measured on the other half."""
    measured = tuple(_measured(split) for split in splits)
    cards = measured[0].store.models
    return Subject(
        name="small classifiers of scikit-learn’s 8 × 8 handwritten digits, the built-in zoo",
        splits=measured,
        base=measured[0].comparison.base,
        bases=tuple(card.name for card in cards if card.category in ("BASE", "REINIT")),
        transfer=tuple(split.transfer for split in splits),
        seed=recipe.seed,
        choices={
            "score": "all images, each by an instance trained on the other half of the images",
            "calibration": f"one temperature a model and half, of least negative log likelihood "
            f"on {recipe.calibration} images of the training half that it was not trained on",
            "caution": "the recipe’s accuracies were tuned on these very images: there is no "
            "untouched test set",
        },
        about={"recipe": asdict(recipe), "recipe_digest": recipe.digest()},
        progress=progress,
    )


def _measured(split: ZooSplit) -> Split:
    test, fitting = split.test, split.calibration
    calibrated = np.stack([test.logits(name) for name in test.names]).astype(np.float64)
    fits = []
    for fold in np.unique(test.columns["fold"]):
        fit_on = fitting.columns["fold"] == fold
        logits = [fitting.logits(name)[fit_on] for name in test.names]
        fit = ov.calibration.fit_temperature(logits, fitting.target[fit_on])
        calibrated[:, test.columns["fold"] == fold] /= fit.temperature[:, None, None]
        fits.append(np.log(fit.temperature))
    return compared(
        test,
        list(calibrated),
        base=next(card.name for card in test.models if card.category == "BASE"),
        temperature=np.ones(len(test)),
        fitted=np.exp(np.mean(fits, axis=0)),
    )

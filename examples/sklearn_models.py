"""Which scikit-learn classifiers err differently on digits, and what pairing them gains."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

import ovcore as ov

models = {
    "logistic regression": LogisticRegression(max_iter=1000),
    "nearest neighbours": KNeighborsClassifier(),
    "random forest": RandomForestClassifier(random_state=0),
    "naive Bayes": GaussianNB(),
}

images, digits = load_digits(return_X_y=True)
images, test_images, digits, test = train_test_split(images / 16, digits, random_state=0)
images, held_images, digits, held = train_test_split(images, digits, random_state=0)
for model in models.values():
    model.fit(images, digits)


def logits(of: np.ndarray) -> np.ndarray:
    """Logarithms of all models' probabilities; one that is 0 counts as a millionth."""
    return np.log(np.array([model.predict_proba(of) for model in models.values()]).clip(1e-6))


# Temperatures from samples that the models were not fitted on and that are not reported on.
result = ov.compare(
    logits(test_images), test, models=list(models), calibration_split=(logits(held_images), held)
)
print(result.table(base="logistic regression"))
pairs = result.to_pandas().sort_values("error_inconsistency", ascending=False)
print(pairs[["model_a", "model_b", "error_inconsistency", "gain"]].to_string(index=False))

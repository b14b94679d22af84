"""A leaderboard of scikit-learn pipelines, and the ensemble that greedy selection makes of them."""

from collections import Counter
from itertools import product

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import ovcore as ov

steps = [MinMaxScaler(), StandardScaler(), PCA(10, svd_solver="full", whiten=True)]
classifiers = [LinearDiscriminantAnalysis()]
classifiers += [LogisticRegression(C=c, max_iter=1000) for c in (0.1, 1, 10)]
classifiers += [KNeighborsClassifier(k) for k in (1, 5, 20)]
classifiers += [ExtraTreesClassifier(30, max_depth=d, random_state=0) for d in (5, 10)]
pipelines = [make_pipeline(*pair) for pair in product(steps, classifiers)]

images, digits = load_digits(return_X_y=True)
images = images[:, :32]  # upper halves: of whole digits every pipeline gets nearly all right
images, new_images, digits, valid = train_test_split(images, digits, random_state=0, test_size=0.7)
probs = [pipeline.fit(images, digits).predict_proba(new_images) for pipeline in pipelines]
logits = np.log(np.array(probs).clip(1e-6))

# Half of the validation samples select; what the other half says of the selection is printed.
greedy = ov.ensembles.greedy(logits, valid, max_size=20, replacement=True, holdout=0.5)
weight, reported = Counter(greedy.members), greedy.held_out
accuracy = ov.pack_errors(logits[:, reported], valid[reported]).accuracy()
for m in np.argsort(-accuracy, kind="stable"):
    print(f"{accuracy[m]:.4f} {weight[m] or '':>3} {' | '.join(map(str, pipelines[m]))}")
print(f"the best of those selected on {greedy.accuracy[0]:.4f}, ensemble {greedy.accuracy[-1]:.4f}")

"""Compares models by what lm-evaluation-harness logged of each (`--log_samples`) on one task.

python lm_eval_results.py STORE OUTPUT/*/samples_arc_easy_*.jsonl
"""

import sys

import numpy as np

import ovcore as ov
from ovcore.importers import import_outputs, read_lm_eval

if len(sys.argv) < 4:
    sys.exit(__doc__)
folder, *files = sys.argv[1:]

# Samples are matched by their hashes; a model is called what the results beside its samples say.
for report in import_outputs([read_lm_eval(file) for file in files], folder):
    print(report)

# Log-likelihoods of the choices are logits; at temperature 1 they are compared as they are.
store = ov.store.Store(folder)
result = ov.compare(store, temperature=1.0)
best = result.models[int(np.argmax(result.accuracy))]
print(result.table(base=best))

# Are two models as good as each other, and do they err on the same questions?
low, high = ov.intervals.error_consistency(result.errors)
p_values = ov.pairwise.mcnemar(result.errors, adjust="holm")
for a, b in zip(*np.triu_indices(len(store), 1), strict=True):
    print(
        f"{store.names[a]} and {store.names[b]}: error consistency "
        f"{result.error_consistency[a, b]:.2f} [{low[a, b]:.2f}, {high[a, b]:.2f}], "
        f"McNemar's p {p_values[a, b]:.2g}"
    )

"""Compares models by a folder of Inspect's logs, one of each model on the same task.

python inspect_logs.py LOGS STORE
"""

import sys
from pathlib import Path

import ovcore as ov
from ovcore.importers import import_outputs, read_inspect

if len(sys.argv) != 3:
    sys.exit(__doc__)
logs, folder = map(Path, sys.argv[1:])

# Samples are matched by their ids. Partial credit is not right.
models = [read_inspect(log, partial="wrong") for log in sorted(logs.glob("*.eval"))]
for report in import_outputs(models, folder):
    print(report)

store = ov.store.Store(folder)
result = ov.compare(store)
print(result.table())

# The first ids of the questions that none, one, ... or all of the models get right.
right = len(store) - ov.pack_errors(store, store.target).wrong().sum(axis=0)
for count in range(len(store) + 1):
    names = [store.sample_ids[n] for n in (right == count).nonzero()[0]]
    print(f"{count} of {len(store)} models: {len(names)} questions {' '.join(names[:3])}")

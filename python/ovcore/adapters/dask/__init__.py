"""Counts of samples that are divided over a Dask cluster, the same as in one process.

Functions have the names of those that they stand for, and take a :class:`ovcore.store.Store`, a
Dask array (M, N, K) or (M, N), or M Dask arrays (N, K) or (N,), however they are chunked. Each
block of samples is counted by a task, and tasks add the counts up in a tree. Tasks change nothing
but what they return, so that Dask counts the blocks of a lost worker again, and none twice.

Of a store, tasks get the manifest and map the files themselves: every worker must find it at the
same path. Dask arrays that are costly to make should be persisted where temperatures are fitted,
which takes several passes.

All results are those of one process to the bit, whatever the chunks, the blocks and the number of
workers: counts because they are integers, temperatures because likelihoods are summed over the
same blocks of 16,384 samples in the same order. The latter holds on processors of one instruction
set (``ovcore info`` names it); others differ in the last digits. Covariances are the same whatever
the chunks and workers, too, and agree with one process to rounding.

All functions take these options:

* client: a ``distributed.Client``; by default the current one, else Dask's own scheduler.
* block_size: samples of one task; by default of at most 256 MB for all models, and a few tasks for
  each thread.
* split_every: results that one task of the tree adds.
* workers: threads of one task. 1 fits workers that have as many threads as cores.

>>> import dask.array as da, numpy as np, ovcore as ov
>>> from ovcore.adapters import dask as ovd
>>> preds, target = np.array([[0, 1, 2, 2], [0, 1, 1, 2], [2, 1, 2, 2]]), np.array([0, 1, 2, 2])
>>> errors = ovd.joint_errors(da.from_array(preds, chunks=(3, 2)), target)
>>> errors == ov.JointErrors.from_errors(ov.pack_errors(preds, target))
True
"""

from __future__ import annotations

from ovcore.adapters.dask._comparison import compare
from ovcore.adapters.dask._counts import joint_agreement, joint_errors, pair_counts, pairs
from ovcore.adapters.dask._features import covariance, moments
from ovcore.adapters.dask._temperature import fit_temperature

__all__ = [
    "compare",
    "covariance",
    "fit_temperature",
    "joint_agreement",
    "joint_errors",
    "moments",
    "pair_counts",
    "pairs",
]

"""Dask clusters for commands: one that is there, or one of this machine's cores while it lasts."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
_PATIENCE = 15  # seconds for a scheduler to answer


@contextlib.contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at an address; "local" starts a process for each core, and ends it.

    Raises:
        ModuleNotFoundError: Dask is not installed.
        OSError: no scheduler answers.
    """
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        at = address
        if address == LOCAL:
            at = stack.enter_context(
                LocalCluster(
                    n_workers=CPU_COUNT,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=":0",  # any port that is free
                    silence_logs=logging.ERROR,
                )
            )
        yield stack.enter_context(Client(at, timeout=_PATIENCE, set_as_default=False))

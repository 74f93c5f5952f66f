"""Which scan, if any, runs in this thread: layers that are called meanwhile belong to it."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from torch import Tensor


class Running(Protocol):
    """A scan that has folded time into the batch; `tracetorch.scan.Run` is one."""

    def scan(self, layer: Any, x: Tensor) -> Tensor:
        """Run a layer over all time steps on its folded input [T*B, ...]."""


class _Local(threading.local):      # torch.compile(fullgraph=True) refuses a ContextVar
    def __init__(self) -> None:
        self.scan: Running | None = None


_local = _Local()


def running() -> Running | None:
    """Return the scan that layers called now belong to."""
    return _local.scan


def swap(scan: Running | None) -> Running | None:
    """Make `scan` the running one and return the one before."""
    before = running()
    _local.scan = scan
    return before

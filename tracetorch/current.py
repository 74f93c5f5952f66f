"""Which scan, if any, runs in this thread: layers that are called meanwhile belong to it."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from torch import Tensor

_local = threading.local()      # torch.compile(fullgraph=True) refuses a ContextVar


class Running(Protocol):
    """A scan that has folded time into the batch; `tracetorch.scan.Run` is one."""

    def scan(self, layer: Any, x: Tensor) -> Tensor:
        """Run a layer over all time steps on its folded input [T*B, ...]."""


def running() -> Running | None:
    """Return the scan that layers called now belong to."""
    return getattr(_local, "scan", None)


def swap(scan: Running | None) -> Running | None:
    """Make `scan` the running one and return the one before."""
    before = running()
    _local.scan = scan
    return before

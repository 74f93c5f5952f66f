"""Which scan, if any, has folded time into the batch in this thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .scan import Fold

_local = threading.local()      # torch.compile(fullgraph=True) refuses a ContextVar


def active() -> Fold | None:
    """Return the fold that layers called now belong to."""
    return getattr(_local, "fold", None)


def swap(fold: Fold | None) -> Fold | None:
    """Make `fold` the active one and return the one before."""
    before = active()
    _local.fold = fold
    return before

"""How many threads a call may use: as many as PyTorch does, and one in a process that was forked."""

from __future__ import annotations

import os

import torch

_forked = False


def count() -> int:
    """Return how many threads a call may use."""
    return 1 if _forked else torch.get_num_threads()


def _after_fork() -> None:
    """OpenMP's threads stay behind in the parent, and waiting for them would never end."""
    global _forked
    _forked = True


def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):      # Windows does not fork
        os.register_at_fork(after_in_child=_after_fork)


_watch_forks()

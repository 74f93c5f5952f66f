"""The backends by name, eager, cpp and triton: which one is asked for, and how it is loaded. `plan` decides.

A fusing backend is a module with

    program_of(step, dtype, io, ranks, record) -> Program   raises Refused
    why_not_here(device, io) -> str | None                  why it can't run on such an input; None where it can

`dtype` is that of the computation, `io` that of input and output; `ranks` are the numbers of dimensions of what is
stored of the parameters, the pipeline's and then those lifted out of its callables.
"""

from __future__ import annotations

import importlib
import threading
from types import ModuleType
from typing import Any

NAMES = ("auto", "eager", "cpp", "triton")
FUSED = {"cpu": "cpp", "cuda": "triton"}
"""Which backend fuses scans on which type of device."""


class _Local(threading.local):
    def __init__(self) -> None:     # in every thread: asking for an attribute that is missing takes long
        self.name = "auto"


_local = _Local()
_loaded: dict[str, ModuleType] = {}


class backend:
    """Set the backend of every scan inside a `with` block: `with tt.backend("eager"): ...`.

    Args:
        name: "auto", "eager", "cpp" or "triton".

    Raises:
        ValueError: another name.
    """

    def __init__(self, name: str) -> None:
        self.name = checked_name(name)

    def __enter__(self) -> backend:
        self._before = requested()
        _local.name = self.name
        return self

    def __exit__(self, *exc: Any) -> None:
        _local.name = self._before


def checked_name(name: str) -> str:
    """Return `name`, or raise ValueError where there is no such backend."""
    if name not in NAMES:
        raise ValueError(f"backend={name!r} is not known, allowed are {', '.join(map(repr, NAMES))}")
    return name


def requested() -> str:
    """Return the backend set by the innermost `with tt.backend(...)`, else "auto"."""
    return _local.name


def load(name: str) -> ModuleType:
    """Import a backend that fuses."""
    _import(name)
    return _loaded[name]


def _import(name: str) -> None:
    if name not in _loaded:
        _loaded[name] = importlib.import_module(f"{__package__}.{name}")


_import._dynamo_marked_constant = True    # type: ignore[attr-defined]  # torch.compile calls it: it cannot trace imports

"""What runs a scan: choosing among eager, cpp and triton.

A backend is a module with `name` and

    why_not(step, x, params, record, dim) -> str | None     why it can't run this step; None where it can
    scan(step, x, states, params, *, dim, rng, record) -> (y, new_states, traces)

`x` is [T, *step_shape] in the dtype of the output; `states` (shaped like one step, or None: start anew) and
`params` (shape [] or [N]; what the layer stores, `step.values(params)` gives the values) are in the dtype of the
computation; `dim` is the neuron dimension of one step, from the front; `rng()` returns the int64 pair (seed, position
of the first step) and is called only where the step draws random numbers; `record` names values whose traces
[T, *step_shape] are returned.
"""

from __future__ import annotations

import importlib
import threading
import warnings
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ..pipeline import Step
from . import eager

NAMES = ("auto", "eager", "cpp", "triton")
FUSED = {"cpu": "cpp", "cuda": "triton"}
"""Which backend fuses scans on which type of device."""
_local = threading.local()
_loaded: dict[str, ModuleType] = {"eager": eager}
_warned: set[tuple[str, str]] = set()


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
    return getattr(_local, "name", "auto")


def load(name: str) -> ModuleType:
    """Import a backend."""
    _import(name)
    return _loaded[name]


def _import(name: str) -> None:
    if name not in _loaded:
        _loaded[name] = importlib.import_module(f"{__package__}.{name}")


_import._dynamo_marked_constant = True    # type: ignore[attr-defined]  # torch.compile calls it: it cannot trace imports


def select(step: Step, x: Tensor, params: dict[str, Tensor], record: tuple[str, ...], dim: int) -> ModuleType:
    """Return the backend that runs this scan.

    Raises:
        RuntimeError: the requested backend can't run it; the message says why.
    """
    name = requested()
    if name != "auto":
        chosen = load(name)
        reason = chosen.why_not(step, x, params, record, dim)
        if reason is not None:
            raise RuntimeError(f"backend={name!r} can't run {step.name}: {reason}. Use backend='auto' or 'eager'")
        return chosen
    if x.device.type not in FUSED or torch.compiler.is_exporting():     # an exported program holds no kernel of ours
        return load("eager")
    try:
        fused = load(FUSED[x.device.type])
        reason = fused.why_not(step, x, params, record, dim)
    except ImportError as error:
        reason = str(error)
    if reason is None:
        return fused
    if (step.name, reason) not in _warned:
        _warned.add((step.name, reason))
        warnings.warn(f"{step.name} is scanned step by step in Python: {reason}", stacklevel=2)
    return load("eager")

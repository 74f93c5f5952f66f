"""Captured steps, remembered for as long as capturing again would give the same code."""

from __future__ import annotations

import threading
from collections import OrderedDict

import torch

from ..pipeline import Step
from .capture import CannotCapture, CapturedStep, capture
from .understood import NotUnderstood, understand
from .witness import Witness

LIMIT = 256     # steps; those least used are forgotten, with their kernels
_known: OrderedDict[tuple, CapturedStep | CannotCapture] = OrderedDict()
_lock = threading.Lock()


def captured(step: Step, dtype: torch.dtype, record: tuple[str, ...] = ()) -> CapturedStep:
    """Return `step` captured in `dtype`, from memory where it is made of what it was made of; raises CannotCapture."""
    try:
        made_of = understand(step)
    except NotUnderstood as error:
        raise CannotCapture(f"{error}; a kernel would not see it change") from None
    pipeline = step.pipeline
    names = tuple(pipeline.states), tuple(pipeline.parameters), type(pipeline)
    key = (step.name, made_of.token, names, dtype, record, torch.get_default_dtype())
    with _lock:
        found = _known.get(key)
        if found is not None:
            _known.move_to_end(key)
    if found is None:
        found = _capture(step, dtype, record, made_of, key)
    if isinstance(found, CannotCapture):
        raise CannotCapture(*found.args)      # a new one: raising gathers the frames it passes
    return found


def witness(step: Step) -> Witness | None:
    """Return what a step is made of now; None where that can't be known."""
    try:
        return understand(step)
    except NotUnderstood:
        return None


def _capture(step: Step, dtype: torch.dtype, record: tuple[str, ...], made_of: Witness,
             key: tuple) -> CapturedStep | CannotCapture:
    try:
        found: CapturedStep | CannotCapture = capture(step, dtype, record)
    except CannotCapture as error:
        found = CannotCapture(*error.args)      # without the frames, which would keep tensors alive
    if not made_of.holds() and getattr(witness(step), "token", None) != made_of.token:
        made_of.restore()
        return CannotCapture("the step changes what it is made of when it is called, as by counting its calls, and a "
                           "kernel would not; compute from its arguments alone, or keep it in a tt.State")
    with _lock:
        _known[key] = found
        if len(_known) > LIMIT:
            _known.popitem(last=False)
    return found

"""Traced steps, remembered for as long as tracing again would give the same code."""

from __future__ import annotations

import threading
from collections import OrderedDict

import torch

from ..pipeline import Step
from .fingerprint import fingerprint
from .trace import CannotTrace, TracedStep, trace

LIMIT = 512
_known: OrderedDict[tuple, TracedStep | CannotTrace] = OrderedDict()
_lock = threading.Lock()


def traced(step: Step, dtype: torch.dtype, record: tuple[str, ...] = ()) -> TracedStep:
    """Return `step` traced in `dtype`, from memory where its callables are as they were; raises CannotTrace."""
    own = tuple(fingerprint(c) for s in step.pipeline.stages for c in type(s).__mro__ if not _built_in(c))
    key = (step.pipeline, dtype, record, fingerprint(step.spike_fn), fingerprint(step.quant_fn), own)
    found = _known.get(key)
    if found is None:
        found = _remember(key, step, dtype, record)
    if isinstance(found, CannotTrace):
        raise found
    return found


def _built_in(stage: type) -> bool:
    return stage.__module__.startswith(("tracetorch.", "builtins"))


def _remember(key: tuple, step: Step, dtype: torch.dtype, record: tuple[str, ...]) -> TracedStep | CannotTrace:
    try:
        found: TracedStep | CannotTrace = trace(step, dtype, record)
    except CannotTrace as error:
        found = CannotTrace(*error.args)      # without the frames, which would keep tensors alive
    with _lock:
        _known[key] = found
        if len(_known) > LIMIT:
            _known.popitem(last=False)
    return found

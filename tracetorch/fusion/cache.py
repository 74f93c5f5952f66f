"""Traced steps, remembered for as long as tracing again would give the same code."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cache

import torch

from ..pipeline import Pipeline, Step
from .capture import CannotTrace, TracedStep, trace
from .fingerprint import fingerprint

LIMIT = 512
_known: OrderedDict[tuple, TracedStep | CannotTrace] = OrderedDict()
_lock = threading.Lock()


def traced(step: Step, dtype: torch.dtype, record: tuple[str, ...] = ()) -> TracedStep:
    """Return `step` traced in `dtype`, from memory where its callables are as they were; raises CannotTrace."""
    key = (step.name, step.pipeline, dtype, record, made_of(step))
    found = _known.get(key)
    if found is None:
        found = _remember(key, step, dtype, record)
    if isinstance(found, CannotTrace):
        raise CannotTrace(*found.args)      # a new one: raising gathers the frames it passes
    return found


def made_of(step: Step) -> tuple:
    """Return a token that is equal for as long as tracing the step would give the same code."""
    own = tuple([fingerprint(c) for c in _own_classes(step.pipeline)])
    return fingerprint(step.spike_fn), fingerprint(step.quant_fn), own


@cache
def _own_classes(pipeline: Pipeline) -> tuple[type, ...]:
    """Return the classes of a pipeline's stages that are not the library's, whose code may change."""
    classes = (c for stage in pipeline.stages for c in type(stage).__mro__)
    return tuple(c for c in classes if not c.__module__.startswith(("tracetorch.", "builtins")))


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

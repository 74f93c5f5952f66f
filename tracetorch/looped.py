"""Feedback: a step whose last output arrives at its input again, through a matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .padding import Padded
from .pipeline import Steps
from .stages import Parameter, State

FED = "fed"
WEIGHT, BIAS = "path.weight", "path.bias"


def path_names(biased: bool) -> tuple[str, ...]:
    """Return what a way back adds to the parameters of a step."""
    return (WEIGHT, BIAS) if biased else (WEIGHT,)


class Looped:
    """A step that hears what it said one step before; used in its place, every backend runs it.

        drive = x + weight fed + bias        output = step(drive)        fed = output

    Neurons lie last: `weight` is [N, N], `bias` [N]. The product is all that is not elementwise in it; `elementwise()`
    is the same step without: what arrives there as x is the drive.

    Args:
        pipeline: what computes a step from its drive.
        bias: whether there is one.
    """

    def __init__(self, pipeline: Steps, bias: bool, product: bool = True) -> None:
        self.pipeline, self.bias, self.looped = pipeline, bias, product
        self.stages, self.fires = pipeline.stages, pipeline.fires
        self.names = (*pipeline.names, FED)
        self.states = {**pipeline.states, FED: State()}
        extra = path_names(bias) if product else ()
        self.parameters = {**pipeline.parameters, **dict.fromkeys(extra, Parameter(0.0))}

    def elementwise(self) -> Looped:
        """Return the step without the product."""
        return Looped(self.pipeline, self.bias, product=False)

    def __call__(self, x: Tensor, states: dict[str, Tensor], params: dict[str, Tensor],
                 fire: Callable[[Tensor], Tensor] | None) -> tuple[Tensor, dict[str, Tensor], dict[str, Any]]:
        """Return the output, the new states and every name at the end of the step."""
        own = {name: state for name, state in states.items() if name != FED}
        given = dict(params)
        if self.looped:
            x = x + _product(states[FED], given.pop(WEIGHT), given.pop(BIAS, None))
        y, new, values = self.pipeline(x, own, given, fire)
        return y, {**new, FED: y}, {**values, FED: y}


def wrapped(pipeline: Steps, path: int, padding: bool) -> Steps:
    """Return a pipeline that is led back through `path` tensors, weight and bias, and padded, as far as wanted."""
    if path:
        pipeline = Looped(pipeline, bias=path == 2)
    return Padded(pipeline) if padding else pipeline


def _product(fed: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return `weight fed + bias` in the dtype of the states, which autocast does not choose."""
    if fed.is_meta or not torch.is_autocast_enabled(fed.device.type):
        return F.linear(fed, weight, bias)
    with torch.autocast(fed.device.type, enabled=False):
        return F.linear(fed, weight, bias)

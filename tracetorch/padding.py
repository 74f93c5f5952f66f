"""Padded batches: steps past the length of an element leave its states alone and give zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .pipeline import Steps
from .stages import State

LEFT = "steps_left"


class Padded:
    """A step that counts down how many steps are left; used in its place, it fuses like any other.

        live = steps_left > 0        state = where(live, new state, state)        output = where(live, output, 0)
    """

    def __init__(self, pipeline: Steps) -> None:
        self.pipeline, self.looped = pipeline, pipeline.looped
        self.stages, self.parameters, self.fires = pipeline.stages, pipeline.parameters, pipeline.fires
        self.names = (*pipeline.names, LEFT)
        self.states = {**pipeline.states, LEFT: State()}

    def elementwise(self) -> Padded:
        """Return the step without the matrix of a looped one."""
        return Padded(self.pipeline.elementwise())

    def __call__(self, x: Tensor, states: dict[str, Tensor], params: dict[str, Tensor],
                 fire: Callable[[Tensor], Tensor] | None) -> tuple[Tensor, dict[str, Tensor], dict[str, Any]]:
        """Return the output, the new states and every name at the end of the step."""
        live = states[LEFT] > 0
        old = {name: states[name] for name in self.pipeline.states}
        y, new, values = self.pipeline(torch.where(live, x, 0.0), old, params, fire)
        new = {name: torch.where(live, value, old[name]) for name, value in new.items()}
        shown = {name: torch.where(live, v, 0.0) if isinstance(v, Tensor) else v for name, v in values.items()}
        new[LEFT] = states[LEFT] - 1.0
        return torch.where(live, y, 0.0), new, {**shown, **new}


def checked_lengths(lengths: Any, x: Tensor) -> Tensor:
    """Return the lengths as an int64 tensor [B] on x's device, for x [T, B, ...].

    Raises:
        TypeError: lengths that are no whole numbers.
        ValueError: not one per element of the batch, or outside 0 to T.
    """
    out = torch.as_tensor(lengths, device=x.device)
    if out.is_floating_point() or out.is_complex() or out.dtype == torch.bool:
        raise TypeError(f"tt.scan: lengths must be whole numbers, got {out.dtype}")
    if x.ndim < 2 or tuple(out.shape) != (x.shape[1],):
        batch = f"[{x.shape[1]}]" if x.ndim > 1 else "a batch dimension after time"
        raise ValueError(f"tt.scan: lengths must have shape {batch}, one per element of the batch, "
                         f"got {list(out.shape)} for x of shape {list(x.shape)}")
    if torch.compiler.is_compiling():       # a graph can't look at values; past T or below 0 they count as T and 0
        return out.long()
    if out.numel() and not bool(((out >= 0) & (out <= len(x))).all()):
        raise ValueError(f"tt.scan: lengths must lie between 0 and T={len(x)}, got {out.min()} to {out.max()}")
    return out.long()


def live_mask(lengths: Tensor, steps: int, ndim: int) -> Tensor:
    """Return [T, B, 1, ...]: whether an element still goes on at a step; `ndim` dimensions in all."""
    time = torch.arange(steps, device=lengths.device)
    return (time[:, None] < lengths).view(steps, -1, *[1] * (ndim - 2))


def masked(y: Tensor, lengths: Tensor | None) -> Tensor:
    """Return y [T, B, ...] with zeros past each element's length."""
    return y if lengths is None else torch.where(live_mask(lengths, len(y), y.ndim), y, torch.zeros((), dtype=y.dtype))

"""The definition of what is right: one reference step after another, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..functional.random import Stream
from ..pipeline import Step
from .program import Scanned

if TYPE_CHECKING:
    from .plan import Call


def scan(step: Step, call: Call, x: Tensor, starts: Sequence[Tensor | None], stored: Sequence[Tensor],
         rng: Callable[[], Tensor]) -> Scanned:
    """Step through time; `Plan.__call__` has the arguments."""
    ndim, dtype = len(call.shape), call.dtype
    steps = x.unbind(0) if x.ndim > ndim else (x,)
    values = step.values(dict(zip(step.pipeline.parameters, stored, strict=True)))
    inner = ndim - 1 - call.dim         # a view takes as long as a sum, and is not needed where neurons lie last
    params = {k: p.view(-1, *[1] * inner) if p.ndim == 1 else p for k, p in values.items()} if inner else values
    now = {k: torch.full(call.shape, state.init, dtype=dtype, device=x.device) if start is None else start
           for (k, state), start in zip(step.pipeline.states.items(), starts, strict=True)}
    ys, recordings = [], []
    for t, x_t in enumerate(steps):
        with Stream(partial(_later_key, rng, t), call.shape):
            y, now, recorded = step(x_t if x_t.dtype is dtype else x_t.to(dtype), now, params, call.record)
        ys.append(y if y.dtype is x.dtype else y.to(x.dtype))
        recordings.append(recorded)
    y = torch.stack(ys) if x.ndim > ndim else ys[0]
    return Scanned(y, list(now.values()), [torch.stack([r[k] for r in recordings]) for k in call.record])


def _later_key(rng: Callable[[], Tensor], steps: int) -> Tensor:
    """Return the key of a later step."""
    seed, position = rng().unbind()
    return torch.stack([seed, position + steps])

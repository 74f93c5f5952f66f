"""The definition of what is right: one reference step after another, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ..functional.random import Stream
from ..pipeline import Step
from .program import Scanned


def scan(step: Step, x: Tensor, starts: Sequence[Tensor | None], stored: Sequence[Tensor], *, dim: int, ndim: int,
         rng: Callable[[], Tensor], record: tuple[str, ...] = ()) -> Scanned:
    """Step through time; `Plan.__call__` has the arguments, `ndim` is the number of dimensions of one step."""
    steps = x.unbind(0) if x.ndim > ndim else (x,)
    shape = steps[0].shape
    dtype = stored[0].dtype if stored else torch.promote_types(x.dtype, torch.float32)
    values = step.values(dict(zip(step.pipeline.parameters, stored, strict=True)))
    params = {k: p.view(-1, *[1] * (ndim - 1 - dim)) if p.ndim else p for k, p in values.items()}
    now = {k: torch.full(shape, state.init, dtype=dtype, device=x.device) if start is None else start
           for (k, state), start in zip(step.pipeline.states.items(), starts, strict=True)}
    ys, recordings = [], []
    for t, x_t in enumerate(steps):
        with Stream(partial(_later_key, rng, t), shape):
            y, now, values = step(x_t.to(dtype), now, params, record)
        ys.append(y.to(x.dtype))
        recordings.append(values)
    y = torch.stack(ys) if x.ndim > ndim else ys[0]
    return Scanned(y, list(now.values()), [torch.stack([r[k] for r in recordings]) for k in record])


def _later_key(rng: Callable[[], Tensor], steps: int) -> Tensor:
    """Return the key of a later step."""
    seed, position = rng().unbind()
    return torch.stack([seed, position + steps])

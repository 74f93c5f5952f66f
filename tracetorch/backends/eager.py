"""The definition of what is right: one reference step after another, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..functional.random import Stream
from ..pipeline import Step

name = "eager"


def why_not(step: Step, x: Tensor, params: dict[str, Tensor], record: tuple[str, ...], dim: int) -> str | None:
    """Return None: everything runs."""
    return None


def scan(step: Step, x: Tensor, states: dict[str, Tensor | None], params: dict[str, Tensor], *, dim: int,
         rng: Callable[[], Tensor], record: tuple[str, ...] = (),
         ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Step through time; see `tracetorch.backends` for the arguments."""
    shape = x.shape[1:]
    dtype = next((p.dtype for p in params.values()), torch.promote_types(x.dtype, torch.float32))
    params = {k: p.view(-1, *[1] * (len(shape) - 1 - dim)) if p.ndim else p
              for k, p in step.values(params).items()}
    now = {k: torch.full(shape, step.pipeline.states[k].init, dtype=dtype, device=x.device) if state is None else state
           for k, state in states.items()}
    ys, traces = [], []
    for t, x_t in enumerate(x.unbind(0)):
        with Stream(partial(_later_key, rng, t), shape):
            y, now, trace = step(x_t.to(dtype), now, params, record)
        ys.append(y.to(x.dtype))
        traces.append(trace)
    return torch.stack(ys), now, {k: torch.stack([trace[k] for trace in traces]) for k in record}


def _later_key(rng: Callable[[], Tensor], steps: int) -> Tensor:
    """Return the key of a later step."""
    seed, position = rng().unbind()
    return torch.stack([seed, position + steps])

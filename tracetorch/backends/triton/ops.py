"""The scan as custom operators, which torch.compile keeps in its graphs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import launch
from .chain import Chain

_chains: dict[str, Chain] = {}


def register(chain: Chain) -> None:
    """Let the graphs of this process call a composition by its identity."""
    _chains[chain.identity] = chain


@torch.library.custom_op("tracetorch::triton_scan", mutates_args=())
def triton_scan(name: str, x: Tensor, start: list[Tensor], par: list[Tensor], rng: Tensor | None, dim: int,
                dtype: torch.dtype, save: bool) -> list[Tensor]:
    """(y, *final states, *traces, saved states)"""
    chain = _chains[name]
    y, final, traces, saved = launch.forward(chain, dim, x, start or None, par, rng, dtype, save)
    return [y, *final, *traces, *([saved] if save else [])]


@triton_scan.register_fake
def _(name, x, start, par, rng, dim, dtype, save):
    chain = _chains[name]
    final = [x.new_empty(x.shape[1:], dtype=dtype) for _ in chain.states]
    traces = [x.new_empty(x.shape, dtype=dtype) for _ in range(chain.traces)]
    saved = []
    if save:
        shape = launch.shape_of(x, dim)
        count = launch.checkpoints(shape.T, launch.steps_of(chain, shape.T, dtype))
        saved = [x.new_empty((count, len(chain.states), shape.size), dtype=dtype)]
    return [torch.empty(x.shape, dtype=x.dtype, device=x.device), *final, *traces, *saved]


@torch.library.custom_op("tracetorch::triton_scan_backward", mutates_args=())
def triton_scan_backward(name: str, x: Tensor, gy: Tensor, start: list[Tensor], saved: Tensor, gfinal: list[Tensor],
                         gtraces: list[Tensor], par: list[Tensor], rng: Tensor | None, dim: int) -> list[Tensor]:
    """(gx, *cotangents of the start states, *of the parameters)"""
    gx, gstart, sums = launch.backward(_chains[name], dim, x, gy, start or None, saved, gfinal, gtraces, par,
                                       rng, (True, bool(start), True))  # fmt: skip
    return [gx, *(gstart or []), sums]


@triton_scan_backward.register_fake
def _(name, x, gy, start, saved, gfinal, gtraces, par, rng, dim):
    gx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    gstart = [torch.empty(s.shape, dtype=s.dtype, device=s.device) for s in start]
    return [gx, *gstart, saved.new_empty((len(par), x.shape[dim + 1]))]


def _setup(ctx, inputs, output):
    ctx.name, x, start, par, rng, ctx.dim, _dtype, save = inputs
    if not save:
        raise RuntimeError("tracetorch::triton_scan: called with save=False, it keeps nothing to differentiate by")
    ctx.states, ctx.parameters = len(start), len(par)
    ctx.save_for_backward(x, output[-1], rng, *start, *par)


def _backward(ctx, grads):
    x, saved, rng, *tensors = ctx.saved_tensors
    start, par = tensors[: ctx.states], tensors[ctx.states :]
    chain, step = _chains[ctx.name], x.shape[1:]
    count = len(chain.states)
    gy, gfinal, gtraces = grads[0], grads[1 : 1 + count], grads[1 + count : -1]
    gy = torch.zeros_like(x) if gy is None else gy
    gfinal = [saved.new_zeros(step) if g is None else g for g in gfinal]
    gtraces = [saved.new_zeros(x.shape) if g is None else g for g in gtraces]
    gx, *rest = triton_scan_backward(ctx.name, x, gy, start, saved, gfinal, gtraces, par, rng, ctx.dim)
    return None, gx, rest[:-1], launch.per_parameter(rest[-1], par), None, None, None, None


triton_scan.register_autograd(_backward, setup_context=_setup)


def run(chain: Chain, dim: int, dtype: torch.dtype, rng: Tensor | None, x: Tensor, start: Sequence[Tensor | None],
        par: Sequence[Tensor]) -> Sequence[Tensor]:
    """Scan in a graph; return (y, *final states, *traces)."""
    given = [s for s in start if s is not None]
    save = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *given, *par))
    out = triton_scan(chain.identity, x, given, list(par), rng, dim, dtype, save)
    return out[:-1] if save else out

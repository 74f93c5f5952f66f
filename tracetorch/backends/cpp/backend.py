"""The backend's two functions: whether a step can run here, and the scan."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ...fusion.activations import around, inside
from ...fusion.cache import traced
from ...fusion.callables import as_parameters, why_not_lifted
from ...fusion.capture import CannotTrace
from ...pipeline import Step
from . import build, ops
from .autograd import Scan
from .kernel import SEGMENT, place_of
from .ops import kernel_of
from .source import TYPES, Wanted, backward_source, forward_source

name = "cpp"


def why_not(
    step: Step, x: Tensor, params: dict[str, Tensor], record: tuple[str, ...], dim: int
) -> str | None:  # fmt: skip
    """Return why this scan cannot run as compiled C++, None where it can; see `tracetorch.backends`."""
    if x.device.type != "cpu":
        return f"the input is on {x.device}, and compiled C++ runs on the CPU"
    if x.dtype not in TYPES:
        return f"the input is {x.dtype}; compiled C++ takes {', '.join(str(d) for d in TYPES)}"
    dtype = compute_dtype(x, params)
    if torch.compiler.is_compiling():
        return ops.described(step.pipeline, step.spike_fn, step.quant_fn, step.name, dtype, record)[1]
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return "a fused scan has no vmap, no forward-mode and no torch.func derivatives"
    try:
        program = traced(step, dtype, record)
    except CannotTrace as error:
        return str(error)
    if not program.built and build.compiler() is None:
        return build.NO_COMPILER
    return why_not_lifted(step, x.shape[1:], dim)


def shown(step: Step, x: Tensor, params: dict[str, Tensor]) -> tuple[str, int]:
    """Return the C++ made for a step, forward then backward, and how many steps lie between kept states."""
    dtype = compute_dtype(x, params)
    params = params | as_parameters(step, dtype)
    vectors, activations = tuple(p.ndim == 1 for p in params.values()), inside(step, params, dtype)
    kernel, wanted = kernel_of(step, dtype, (), x.dtype, vectors, activations), Wanted(True, (True,) * len(params))
    both = forward_source(kernel.step, kernel.layout), backward_source(kernel.step, kernel.layout, wanted)
    return "\n".join(both), SEGMENT


def compute_dtype(x: Tensor, params: dict[str, Tensor]) -> torch.dtype:
    """Return the dtype of the computation, which is that of the parameters."""
    for p in params.values():
        return p.dtype
    return torch.promote_types(x.dtype, torch.float32)


def scan(
    step: Step, x: Tensor, states: dict[str, Tensor | None], params: dict[str, Tensor], *, dim: int,
    rng: Callable[[], Tensor], record: tuple[str, ...] = (),
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """Scan through time in compiled C++; see `tracetorch.backends` for the arguments."""
    dtype, names = compute_dtype(x, params), tuple(step.pipeline.states)
    params = {n: params[n] for n in step.pipeline.parameters} | as_parameters(step, dtype)
    starts = [states[n] for n in names]
    run = _operator if torch.compiler.is_compiling() else _differentiable if _wanted(x, starts, params) else _plain
    y, *rest = run(step, x, starts, params, dim, rng, record, dtype)
    return y, dict(zip(names, rest, strict=False)), dict(zip(record, rest[len(names) :], strict=True))


def _wanted(x: Tensor, starts: list[Tensor | None], params: dict[str, Tensor]) -> bool:
    """Say whether anything is to be differentiated."""
    tensors = (x, *starts, *params.values())
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _plain(step, x, starts, params, dim, rng, record, dtype):
    given = list(step.values(params).values())
    kernel = kernel_of(step, dtype, record, x.dtype, tuple([p.ndim == 1 for p in given]), (None,) * len(given))
    place = place_of(x.shape, dim, rng() if kernel.step.draws else None)
    y, finals, traces, _ = kernel.forward(place, x, starts, given, save=False)
    return y, *finals, *traces


def _differentiable(step, x, starts, params, dim, rng, record, dtype):
    activations = inside(step, params, dtype)
    given = around(step, params, activations)
    kernel = kernel_of(step, dtype, record, x.dtype, tuple([p.ndim == 1 for p in given]), activations)
    place = place_of(x.shape, dim, rng() if kernel.step.draws else None)
    return Scan.apply(kernel, place, activations, x, *starts, *given)


def _operator(step, x, starts, params, dim, rng, record, dtype):
    given = list(step.values(params).values())
    key, _, draws = ops.described(step.pipeline, step.spike_fn, step.quant_fn, step.name, dtype, record)
    fresh = all(s is None for s in starts)
    begin = [step.pipeline.states[n].init for n in step.pipeline.states]
    starts = [x.new_full(x.shape[1:], v, dtype=dtype) if s is None else s for s, v in zip(starts, begin, strict=True)]
    save = _wanted(x, starts, params)
    key_and_position = rng() if draws else None
    *out, _ = ops.cpp_scan(
        x, [] if fresh else starts, given, key_and_position, key, ",".join(record), dim, len(starts), dtype, save
    )
    return out

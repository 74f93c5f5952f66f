"""The backend's two functions: whether a step can run here, and the scan."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ...fusion.lift import lifted, why_not_lifted
from ...fusion.program import traced
from ...fusion.trace import CannotTrace
from ...pipeline import Step
from . import build, ops
from .autograd import Scan
from .kernel import SEGMENT, place_of
from .ops import kernel_of
from .source import TYPES, Wanted, backward_source, forward_source

name = "cpp"


def why_not(step: Step, x: Tensor, params: dict[str, Tensor], record: tuple[str, ...]) -> str | None:
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
    return build.NO_COMPILER if not program.built and build.compiler() is None else None


def shown(step: Step, x: Tensor, params: dict[str, Tensor]) -> tuple[str, int]:
    """Return the C++ made for a step, forward then backward, and how many steps lie between kept states."""
    given = [*params.values(), *lifted(step).values()]
    kernel = kernel_of(step, compute_dtype(x, params), (), x.dtype, tuple(p.numel() != 1 for p in given))
    wanted = Wanted(True, (True,) * len(given))
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
    given = [*(params[n] for n in step.pipeline.parameters), *_lifted(step, dtype, x.shape[1:], dim)]
    starts = [states[n] for n in names]
    differentiable = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *starts, *given))
    run = _operator if torch.compiler.is_compiling() else _differentiable if differentiable else _plain
    y, *rest = run(step, x, starts, given, dim, rng, record, dtype)
    return y, dict(zip(names, rest, strict=False)), dict(zip(record, rest[len(names) :], strict=True))


def _kernel_and_place(step, x, given, dim, rng, record, dtype):
    kernel = kernel_of(step, dtype, record, x.dtype, tuple([p.ndim == 1 for p in given]))
    return kernel, place_of(x.shape, dim, rng() if kernel.step.draws else None)


def _plain(step, x, starts, given, dim, rng, record, dtype):
    kernel, place = _kernel_and_place(step, x, given, dim, rng, record, dtype)
    y, finals, traces, _ = kernel.forward(place, x, starts, given, save=False)
    return y, *finals, *traces


def _differentiable(step, x, starts, given, dim, rng, record, dtype):
    kernel, place = _kernel_and_place(step, x, given, dim, rng, record, dtype)
    return Scan.apply(kernel, place, x, *starts, *given)


def _operator(step, x, starts, given, dim, rng, record, dtype):
    key, _, draws = ops.described(step.pipeline, step.spike_fn, step.quant_fn, step.name, dtype, record)
    fresh = all(s is None for s in starts)
    begin = [step.pipeline.states[n].init for n in step.pipeline.states]
    starts = [x.new_full(x.shape[1:], v, dtype=dtype) if s is None else s for s, v in zip(starts, begin, strict=True)]
    save = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *starts, *given))
    key_and_position = rng() if draws else None
    *out, _ = ops.cpp_scan(
        x, [] if fresh else starts, given, key_and_position, key, ",".join(record), dim, len(starts), dtype, save
    )
    return out


def _lifted(step: Step, dtype: torch.dtype, shape: torch.Size, dim: int) -> list[Tensor]:
    """Tensors lifted out of the callables, as the kernel takes them: single numbers, or one for each neuron."""
    free = lifted(step)
    reason = why_not_lifted(free, shape[dim], dim == len(shape) - 1)
    if reason is not None:
        raise RuntimeError(f'{step.name}: {reason}; run it under tt.backend("eager")')
    return [(t.reshape(()) if t.numel() == 1 else t).to(dtype) for t in free.values()]

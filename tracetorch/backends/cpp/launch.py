"""The backend's two functions: whether a step can run here, and the scan."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ...fusion.lift import lifted
from ...fusion.program import traced
from ...fusion.trace import CannotTrace, TracedStep
from ...pipeline import Step
from . import build
from .autograd import Scan
from .kernel import Kernel, place_of
from .source import TYPES, Layout

name = "cpp"


def why_not(step: Step, x: Tensor, params: dict[str, Tensor], record: tuple[str, ...]) -> str | None:
    """Return why this scan cannot run as compiled C++, None where it can; see `tracetorch.backends`."""
    if not x.is_cpu:
        return f"the input is on {x.device}, and compiled C++ runs on the CPU"
    if x.dtype not in TYPES:
        return f"the input is {x.dtype}; compiled C++ takes {', '.join(str(d) for d in TYPES)}"
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return "a fused scan has no vmap, forward-mode or torch.func derivatives"
    if build.compiler() is None:
        return build.NO_COMPILER
    try:
        traced(step, compute_dtype(x, params), record)
    except CannotTrace as error:
        return str(error)
    return None


def compute_dtype(x: Tensor, params: dict[str, Tensor]) -> torch.dtype:
    """Return the dtype of the computation, which is that of the parameters."""
    return next((p.dtype for p in params.values()), torch.promote_types(x.dtype, torch.float32))


def scan(
    step: Step, x: Tensor, states: dict[str, Tensor | None], params: dict[str, Tensor], *, dim: int,
    rng: Callable[[], Tensor], record: tuple[str, ...] = (),
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """Scan through time in compiled C++; see `tracetorch.backends` for the arguments."""
    program = traced(step, compute_dtype(x, params), record)
    free = lifted(step) if program.lifted else {}
    given = [params[n] if n in params else _as_parameter(free[n], program.dtype) for n in program.params]
    kernel = kernel_of(program, Layout(x.dtype, tuple(p.ndim == 1 for p in given)))
    place = place_of(x.shape, dim, rng() if program.draws else None)
    starts = [states[n] for n in program.states]
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *starts, *given)):
        y, *rest = Scan.apply(kernel, place, x, *starts, *given)
    else:
        y, finals, traces, _ = kernel.forward(place, x, starts, given, save=False)
        rest = finals + traces
    count = len(program.states)
    return y, dict(zip(program.states, rest[:count], strict=True)), dict(zip(record, rest[count:], strict=True))


def kernel_of(program: TracedStep, layout: Layout) -> Kernel:
    """Return the compiled step in a layout, made once."""
    if layout not in program.built:
        program.built[layout] = Kernel(program, layout)
    return program.built[layout]


def _as_parameter(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return (tensor.reshape(()) if tensor.numel() == 1 else tensor).to(dtype)

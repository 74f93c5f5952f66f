"""The backend's two functions: whether a step can run here, and the scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx.experimental.symbolic_shapes import guard_scalar

from tracetorch.backends.triton import launch, ops
from tracetorch.backends.triton.autograd import run
from tracetorch.backends.triton.composition import Composition, known
from tracetorch.backends.triton.derived import derived
from tracetorch.backends.triton.tuples import INTERPRETED
from tracetorch.fusion.emit import Unsupported
from tracetorch.fusion.lift import as_parameters, why_not_lifted
from tracetorch.fusion.trace import CannotTrace
from tracetorch.pipeline import Step

name = "triton"


def why_not(step: Step, x: Tensor, params: dict[str, Tensor], record: tuple[str, ...],
            dim: int) -> str | None:
    """Return why this scan cannot run in Triton, None where it can; see `tracetorch.backends`."""
    if not x.is_cuda and not INTERPRETED:
        return f"the input is on {x.device}, and Triton runs on CUDA devices (or, interpreted, with TRITON_INTERPRET=1)"
    if x.dtype not in launch.IO:
        return f"the input is {x.dtype}; Triton kernels take {', '.join(map(str, launch.IO))}"
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return "a fused scan has no vmap, forward-mode or torch.func derivatives"
    found = _composition(step, compute_dtype(x, params), record)
    return found if isinstance(found, str) else why_not_lifted(step, x.shape[1:], dim)


def compute_dtype(x: Tensor, params: dict[str, Tensor]) -> torch.dtype:
    """Return the dtype of the computation, which is that of the parameters."""
    return next((p.dtype for p in params.values()), torch.promote_types(x.dtype, torch.float32))


def compose(step: Step, dtype: torch.dtype, record: tuple[str, ...] = ()) -> Composition:
    """Return the hand-written stages of a step, or a derived one; raises CannotTrace, Unsupported."""
    found = known(step) if not record else None
    return derived(step, dtype, record) if found is None else found


def _composition(step: Step, dtype: torch.dtype, record: tuple[str, ...]) -> Composition | str:
    """The composition that runs a step, or why there is none."""
    if torch.compiler.is_compiling():
        return _while_compiling(step.pipeline, step.spike_fn, step.quant_fn, step.name, dtype, record,
                                _scalars(step.spike_fn), _scalars(step.quant_fn))  # fmt: skip
    try:
        return compose(step, dtype, record)
    except (CannotTrace, Unsupported) as error:
        return str(error)


@torch.compiler.assume_constant_result
def _while_compiling(pipeline, spike_fn, quant_fn, name, dtype, record, *scalars) -> Composition | str:
    """Run while torch.compile traces a scan; the graph holds what it returns, guarded by its arguments."""
    try:
        found = compose(Step(pipeline, spike_fn, quant_fn, name), dtype, record)
    except (CannotTrace, Unsupported) as error:
        return str(error)
    ops.register(found)
    return found


def _scalars(fn: Any) -> tuple:
    """The numbers that a callable holds: a kernel is compiled with them, so a graph must guard them."""
    held = vars(fn) if hasattr(fn, "__dict__") else {}
    return tuple([(k, guard_scalar(v)) for k, v in held.items() if isinstance(v, (bool, int, float))])


def scan(
    step: Step, x: Tensor, states: dict[str, Tensor | None], params: dict[str, Tensor], *, dim: int,
    rng: Callable[[], Tensor], record: tuple[str, ...] = (),
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """Scan through time in Triton; see `tracetorch.backends` for the arguments."""
    dtype = compute_dtype(x, params)
    C = _composition(step, dtype, record)
    if isinstance(C, str):
        raise RuntimeError(f"backend='triton' can't run {step.name}: {C}")
    given = params if set(C.parameters) <= set(params) else params | as_parameters(step, dtype)
    stored = {n: given[n] for n in C.parameters}
    start = complete(C, [states[n] for n in C.states], x, dtype)
    key = rng() if C.draws else None
    if torch.compiler.is_compiling():
        y, *rest = ops.run(C, dim, dtype, key, x, start, list(step.values(stored).values()))
    else:
        y, *rest = run(step, C, dim, dtype, key, x, start, stored)
    count = len(C.states)
    return y, dict(zip(C.states, rest[:count], strict=True)), dict(zip(record, rest[count:], strict=True))


def complete(C: Composition, start: list[Tensor | None], x: Tensor, dtype: torch.dtype) -> list[Tensor | None]:
    """All start states, or none: kernels read either."""
    if all(s is None for s in start):
        return start
    return [x.new_full(x.shape[1:], value, dtype=dtype) if s is None else s
            for s, value in zip(start, C.init, strict=True)]  # fmt: skip


def shown(step: Step, x: Tensor, params: dict[str, Tensor]) -> tuple[str, int]:
    """Return the Triton text of the stages that run a step, and how many steps lie between kept states."""
    dtype = compute_dtype(x, params)
    C = compose(step, dtype)
    return C.text, launch.steps_of(C, launch.STEPS, dtype)

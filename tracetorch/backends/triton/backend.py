"""The backend's two functions: whether a step can run here, and the scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx.experimental.symbolic_shapes import guard_scalar

from ...fusion.callables import as_parameters, why_not_lifted
from ...fusion.capture import CannotTrace
from ...fusion.code import Unsupported
from ...pipeline import Step
from . import launch, ops
from .autograd import run
from .chain import Chain
from .derived import derived
from .handwritten import handwritten
from .tuples import INTERPRETED

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
    found = _chain_or_reason(step, compute_dtype(x, params), record)
    return found if isinstance(found, str) else why_not_lifted(step, x.shape[1:], dim)


def compute_dtype(x: Tensor, params: dict[str, Tensor]) -> torch.dtype:
    """Return the dtype of the computation, which is that of the parameters."""
    return next((p.dtype for p in params.values()), torch.promote_types(x.dtype, torch.float32))


def chain_of(step: Step, dtype: torch.dtype, record: tuple[str, ...] = ()) -> Chain:
    """Return the hand-written stages of a step, or a derived one; raises CannotTrace, Unsupported."""
    found = handwritten(step) if not record else None
    return derived(step, dtype, record) if found is None else found


def _chain_or_reason(step: Step, dtype: torch.dtype, record: tuple[str, ...]) -> Chain | str:
    """The composition that runs a step, or why there is none."""
    if torch.compiler.is_compiling():
        return _while_compiling(step.pipeline, step.spike_fn, step.quant_fn, step.name, dtype, record,
                                _scalars(step.spike_fn), _scalars(step.quant_fn))  # fmt: skip
    try:
        return chain_of(step, dtype, record)
    except (CannotTrace, Unsupported) as error:
        return str(error)


@torch.compiler.assume_constant_result
def _while_compiling(pipeline, spike_fn, quant_fn, name, dtype, record, *scalars) -> Chain | str:
    """Run while torch.compile traces a scan; the graph holds what it returns, guarded by its arguments."""
    try:
        found = chain_of(Step(pipeline, spike_fn, quant_fn, name), dtype, record)
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
    chain = _chain_or_reason(step, dtype, record)
    if isinstance(chain, str):
        raise RuntimeError(f"backend='triton' can't run {step.name}: {chain}")
    given = params if set(chain.parameters) <= set(params) else params | as_parameters(step, dtype)
    stored = {n: given[n] for n in chain.parameters}
    start = complete(chain, [states[n] for n in chain.states], x, dtype)
    key = rng() if chain.draws else None
    if torch.compiler.is_compiling():
        y, *rest = ops.run(chain, dim, dtype, key, x, start, list(step.values(stored).values()))
    else:
        y, *rest = run(step, chain, dim, dtype, key, x, start, stored)
    count = len(chain.states)
    return y, dict(zip(chain.states, rest[:count], strict=True)), dict(zip(record, rest[count:], strict=True))


def complete(chain: Chain, start: list[Tensor | None], x: Tensor, dtype: torch.dtype) -> list[Tensor | None]:
    """All start states, or none: kernels read either."""
    if all(s is None for s in start):
        return start
    return [x.new_full(x.shape[1:], value, dtype=dtype) if s is None else s
            for s, value in zip(start, chain.init, strict=True)]  # fmt: skip


def shown(step: Step, x: Tensor, params: dict[str, Tensor]) -> tuple[str, int]:
    """Return the Triton text of the stages that run a step, and how many steps lie between kept states."""
    dtype = compute_dtype(x, params)
    chain = chain_of(step, dtype)
    return chain.text, launch.steps_of(chain, launch.STEPS, dtype)

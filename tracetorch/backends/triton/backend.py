"""The backend's two functions: whether a step can run here, and the scan."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from tracetorch.backends.triton import launch
from tracetorch.backends.triton.autograd import run
from tracetorch.backends.triton.composition import Composition, known
from tracetorch.backends.triton.derived import derived
from tracetorch.backends.triton.tuples import INTERPRETED
from tracetorch.fusion.emit import Unsupported
from tracetorch.fusion.lift import lifted, why_not_lifted
from tracetorch.fusion.trace import CannotTrace
from tracetorch.pipeline import Step

name = "triton"


def why_not(step: Step, x: Tensor, params: dict[str, Tensor], record: tuple[str, ...]) -> str | None:
    """Return why this scan cannot run in Triton, None where it can; see `tracetorch.backends`."""
    if not x.is_cuda and not INTERPRETED:
        return f"the input is on {x.device}, and Triton runs on CUDA devices (or, interpreted, with TRITON_INTERPRET=1)"
    if x.dtype not in launch.IO:
        return f"the input is {x.dtype}; Triton kernels take {', '.join(map(str, launch.IO))}"
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return "a fused scan has no vmap, forward-mode or torch.func derivatives"
    try:
        compose(step, compute_dtype(x, params), record)
    except (CannotTrace, Unsupported) as error:
        return str(error)
    return None


def compute_dtype(x: Tensor, params: dict[str, Tensor]) -> torch.dtype:
    """Return the dtype of the computation, which is that of the parameters."""
    return next((p.dtype for p in params.values()), torch.promote_types(x.dtype, torch.float32))


def compose(step: Step, dtype: torch.dtype, record: tuple[str, ...] = ()) -> Composition:
    """Return the hand-written stages of a step, or a derived one; raises CannotTrace, Unsupported."""
    found = known(step) if not record else None
    return derived(step, dtype, record) if found is None else found


def scan(
    step: Step, x: Tensor, states: dict[str, Tensor | None], params: dict[str, Tensor], *, dim: int,
    rng: Callable[[], Tensor], record: tuple[str, ...] = (),
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """Scan through time in Triton; see `tracetorch.backends` for the arguments."""
    dtype = compute_dtype(x, params)
    C = compose(step, dtype, record)
    free = lifted(step) if set(C.parameters) - set(params) else {}
    par = [params[n] if n in params else _as_parameter(free[n], dtype) for n in C.parameters]
    start = [states[n] for n in C.states]
    y, *rest = run(C, dim, dtype, rng() if C.draws else None, x, start, par)
    count = len(C.states)
    return y, dict(zip(C.states, rest[:count], strict=True)), dict(zip(record, rest[count:], strict=True))


def _as_parameter(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return (tensor.reshape(()) if tensor.numel() == 1 else tensor).to(dtype)

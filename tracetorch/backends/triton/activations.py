"""From gradients of parameter values to gradients of what is stored of them: all parameters in one launch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
import triton
from torch import Tensor

from ...fusion.activations import derivative_of
from ...fusion.code import Body
from .derived import HEADER, load
from .dialect import TRITON
from .launch import on_device

BLOCK = 128
KERNEL = """
@triton.jit(do_not_specialize=["N"])
def through_activations(gradients, raws, N, RANKS: tl.constexpr, BLOCK: tl.constexpr):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = n < N
"""


def through(sums: Tensor, stored: Sequence[Tensor], activations: tuple[Callable | None, ...]) -> Tensor:
    """Turn `sums` [P, N], gradients by the values of P parameters, into gradients by what is stored, in place."""
    raws = tuple(p.contiguous() for p, a in zip(stored, activations, strict=True) if a is not None)
    if raws and sums.numel():
        ranks, count = tuple(p.ndim for p in raws), sums.shape[1]
        with on_device(sums.device):
            kernel_of(activations, sums.dtype)[triton.cdiv(count, BLOCK),](sums, raws, count, **constants(ranks))
    return sums


def constants(ranks: tuple[int, ...]) -> dict:
    """Return the constants of the kernel; `ranks`: of the parameters with an activation."""
    return {"RANKS": ranks, "BLOCK": BLOCK, "num_warps": 4, "enable_fp_fusion": False}


@functools.cache
def kernel_of(activations: tuple[Callable | None, ...], dtype: torch.dtype):
    """Return the kernel, at least one of whose activations is not None."""
    return load(source(activations, dtype))["through_activations"]


def source(activations: tuple[Callable | None, ...], dtype: torch.dtype) -> str:
    """Write the Triton text: a function for each activation, and a kernel that takes one parameter after the other."""
    found = {p: a for p, a in enumerate(activations) if a is not None}
    different = list(dict.fromkeys(found.values()))
    lines = []
    for raw, (p, activation) in enumerate(found.items()):
        lines += [
            f"raw = tl.load(raws[{raw}] + n * RANKS[{raw}], mask=mask, other=0.0)",
            f"at = gradients + {p} * N + n",
            "gradient = tl.load(at, mask=mask, other=0.0)",
            f"tl.store(at, derivative_{different.index(activation)}(raw, gradient), mask=mask)",
        ]
    functions = [_function(f"derivative_{k}", derivative_of(a, dtype)) for k, a in enumerate(different)]
    return "\n\n".join([HEADER, *functions]) + KERNEL + "\n".join(f"    {line}" for line in lines) + "\n"


def _function(name: str, body: Body | None) -> str:
    lines, (output,) = TRITON.write(body)  # type: ignore[arg-type]  # `inside` has seen to it that there is one
    return "\n".join(["@triton.jit", f"def {name}(raw, gradient):", "    x = raw",
                      *(f"    {line}" for line in lines), f"    return {output}"])

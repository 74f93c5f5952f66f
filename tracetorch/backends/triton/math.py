"""Functions that Triton lacks, or spells less exactly than torch, for float32 and float64, compiled and interpreted."""

import torch
import triton
import triton.language as tl

from tracetorch.backends.triton.tuples import INTERPRETED

COMPILED_FOR_NVIDIA = tl.constexpr(not INTERPRETED and torch.version.hip is None)


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x)): within 4 ulp of 1, four instructions in float32 (the sure spelling takes 17)."""
    if COMPILED_FOR_NVIDIA and x.dtype == tl.float32:
        e = tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x * -1.4426950408889634],
                                      dtype=tl.float32, is_pure=True, pack=1)
        y = tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [1.0 + e],
                                      dtype=tl.float32, is_pure=True, pack=1)
    else:
        y = 1.0 / (1.0 + tl.exp(-x))
    return y


@triton.jit
def divide(a, b):
    """a / b, rounded correctly (Triton's own / is off by up to 2 ulp in float32)."""
    if a.dtype == tl.float32:
        q = tl.div_rn(a, b)
    else:
        q = a / b
    return q


@triton.jit
def round_even(x):
    """The nearest integer, ties to even."""
    if x.dtype == tl.float32:
        whole: tl.constexpr = 8388608.0
    else:
        whole: tl.constexpr = 4503599627370496.0
    size = tl.abs(x)
    size = tl.where(size < whole, (size + whole) - whole, size)
    return tl.where(x < 0, -size, size)


@triton.jit
def uniform(rng, draw: tl.constexpr, like):
    """The draw numbered `draw` of this step, in [0, 1): Philox4x32-10 keyed by the seed."""
    seed, position, low, high = rng
    zero = low * 0
    word, _b, _c, _d = tl.philox(seed, low, zero + position.to(tl.uint32), zero + draw, high)
    return tl.uint_to_uniform_float(word).to(like.dtype)

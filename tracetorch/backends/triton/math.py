"""Functions that Triton lacks, or spells less exactly than torch, for float32 and float64, compiled and interpreted."""

import triton
import triton.language as tl


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

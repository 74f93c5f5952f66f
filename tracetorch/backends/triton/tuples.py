"""Tuples and opaque constants inside kernels."""

import triton
import triton.language as tl

INTERPRETED = triton.knobs.runtime.interpret
_constexpr_function = getattr(triton, "constexpr_function", None) or tl.constexpr_function  # Triton 3.4: the latter


def at_compile_time(function):
    """A Python function of constants that kernels may call; it runs while they are compiled."""
    return function if INTERPRETED else _constexpr_function(function)


@at_compile_time
def get(constant, *path):
    """get(C, "stages", 0, "reads") is C.stages[0].reads"""
    for key in path:
        constant = getattr(constant, key) if isinstance(key, str) else constant[key]
    return constant


@triton.jit
def pick(values, index: tl.constexpr):
    """(values[i] for i in index)"""
    out = ()
    for j in tl.static_range(len(index)):
        out = out + (values[index[j]],)
    return out


@triton.jit
def total(values):
    """The sum of a tuple."""
    value = values[0]
    for j in tl.static_range(1, len(values)):
        value = value + values[j]
    return value


@triton.jit
def add(a, b):
    """(a[0] + b[0], ...)"""
    out = ()
    for j in tl.static_range(len(a)):
        out = out + (a[j] + b[j],)
    return out


@triton.jit
def add_each(a, value):
    """(a[0] + value, ...)"""
    out = ()
    for j in tl.static_range(len(a)):
        out = out + (a[j] + value,)
    return out


@triton.jit
def where_each(mask, a):
    """(where(mask, a[0], 0), ...)"""
    out = ()
    for j in tl.static_range(len(a)):
        out = out + (tl.where(mask, a[j], 0.0),)
    return out

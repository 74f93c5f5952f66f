"""Tolerances that are measured: what a reference of the same precision misses by itself."""

import torch


def assert_as_right(got, reference, exact):
    """`got` misses float64's `exact` at most twice as far as `reference` does, plus one rounding of the largest."""
    got, reference, exact = got.detach(), reference.detach(), exact.detach()
    assert got.shape == reference.shape == exact.shape and got.dtype == reference.dtype and exact.dtype == torch.float64
    rounding = torch.finfo(got.dtype).eps * float(exact.abs().max())
    allowed = 2 * float((reference.double() - exact).abs().max()) + rounding
    missed = float((got.double() - exact).abs().max())
    assert missed <= allowed, f"misses float64 by {missed:.3g}; the reference allows {allowed:.3g}"

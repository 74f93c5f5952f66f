"""Draws equal Triton's own Philox bit for bit."""

import pytest
import torch

import tracetorch.functional as F
from tracetorch.functional.random import Stream

triton = pytest.importorskip("triton", reason="Triton is an optional extra")
tl = triton.language
pytestmark = pytest.mark.triton


@triton.jit
def _draw(out, seed, position, number, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    c0 = index.to(tl.uint32)
    zero = c0 * 0
    word, _, _, _ = tl.philox(seed, c0, zero + position.to(tl.uint32), zero + number, zero)
    tl.store(out + index, tl.uint_to_uniform_float(word))


@pytest.mark.parametrize("seed", [0, 5, 2**63 - 25])
@pytest.mark.parametrize("position", [0, 3, 2**31 + 7])
def test_equals_triton(seed, position):
    like = torch.empty(256)
    with Stream(torch.tensor([seed, position]), (256,)):
        draws = [F.uniform(like) for _ in range(3)]
    for number, draw in enumerate(draws):
        out = torch.full_like(like, float("nan"))
        _draw[(1,)](out, seed, position, number, BLOCK=256)
        assert torch.equal(out, draw)

"""Every row of the tables of neurons on the migration page: its left side against its right side."""

import re

import pytest
import torch

import tracetorch as tt

from .libraries import LIBRARIES
from .page import CODE, N, rows

STEPS = 200
ROWS = list(rows("differs"))


def distance(got, want):
    """The largest difference, relative to the largest magnitude."""
    return ((got - want).abs().max() / want.abs().max()).item()


@pytest.fixture
def library(row):
    """The library of a row. Parameters on both sides are made in its dtype: 0.9, and not 0.9 rounded to float32."""
    library = LIBRARIES[row.library]
    torch.set_default_dtype(library.dtype)
    yield library
    torch.set_default_dtype(torch.float32)


def driven(library, there, most):
    """The first input, weak ones first, at which neurons fire often and as many times a step as they may."""
    for scale in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0):
        x = (scale * (torch.rand(STEPS, 3, N) - 0.3)).requires_grad_()
        y = library.run(eval(CODE.findall(there)[0], {**library.names, "n": N}).to(library.dtype), x)
        if y.count_nonzero() > 0.1 * y.numel() and y.max() >= min(most, 2):
            return x, y
    raise AssertionError("the neurons hardly fire")


@pytest.mark.filterwarnings("ignore")       # what the libraries warn of in themselves
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row, page, library):
    neuron, *scaled = CODE.findall(row.here.partition(", whose")[0])
    here = eval(neuron, dict(page))
    fires = here.pipeline.fires
    several = fires and (isinstance(here.spike_fn, tt.functional.MultiSpike) or getattr(here.spike_fn, "most", 1) != 1)
    x, want = driven(library, row.there, fires + several)
    got = tt.scan(here, eval(scaled[0], {**page, "x": x}) if scaled else x)
    weights = torch.randn_like(want)
    (want_slope,), (got_slope,) = (torch.autograd.grad((y * weights).sum(), x) for y in (want, got))
    if fires:
        assert torch.equal(got, want) and want.count_nonzero() < 0.9 * want.numel()
    else:
        assert distance(got, want) <= library.error
    percent = re.search(r"gradients by (\d+)%", row.differs)
    if percent:
        assert distance(got_slope, want_slope) == pytest.approx(float(percent[1]) / 100, rel=0.2)
    else:
        assert distance(got_slope, want_slope) <= library.error


def test_the_page_has_a_table_for_every_library():
    assert {row.library for row in ROWS} == set(LIBRARIES)
    assert len(ROWS) > 40 and len({row.there for row in ROWS}) == len(ROWS)

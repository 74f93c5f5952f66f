"""Every row of the tables of neurons on the migration page: its left side against its right side."""

import dataclasses
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
    if "float32" in row.differs:
        library = dataclasses.replace(library, dtype=torch.float32, error=1e-5)
    torch.set_default_dtype(library.dtype)
    yield library
    torch.set_default_dtype(torch.float32)


def driven(library, there, most):
    """The first input, weak ones first, at which neurons fire often and as many times a step as they may."""
    for scale in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0):
        neuron = eval(CODE.findall(there)[0], {**library.names, "n": N}).to(library.dtype)
        x = (scale * (torch.rand(STEPS, 3, N) - 0.3)).requires_grad_()
        y = library.run(neuron, x)
        if y.count_nonzero() > 0.1 * y.numel() and y.max() >= min(most, 2):
            return neuron, x, y
    raise AssertionError("the neurons hardly fire")


def spikes_of_a_step(neuron):
    """How many spikes a step of a neuron of ours may have; 0 where it does not fire."""
    fns = [m.spike_fn for m in neuron.modules() if isinstance(m, tt.Layer) and hasattr(m, "spike_fn")]
    several = [isinstance(fn, tt.functional.MultiSpike) or getattr(fn, "most", 1) != 1 for fn in fns]
    return 0 if not fns else 2 if any(several) else 1


def wrong(library, row, page, scale):
    """The share of spikes that differ, for inputs between 0 and `scale`."""
    x = scale * torch.rand(STEPS, 3, N)
    want = library.run(eval(CODE.findall(row.there)[0], {**library.names, "n": N}), x)
    got = tt.scan(eval(CODE.findall(row.here)[0], dict(page)), x)
    return ((got != want).sum() / want.sum()).item()


@pytest.mark.filterwarnings("ignore")       # what the libraries warn of in themselves
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row, page, library):
    text, *scaled = CODE.findall(row.here.partition(", whose")[0])
    some = eval(CODE.findall(row.there)[0], {**library.names, "n": N})
    most = spikes_of_a_step(eval(text, {**page, "there": some}))
    there, x, want = driven(library, row.there, most)
    here = eval(text, {**page, "there": there})
    got = tt.scan(here, eval(scaled[0], {**page, "x": x}) if scaled else x)
    for membrane in re.findall(r"whose `mem` is `([^`]+)`", row.here):
        assert distance(here.mem, eval(membrane, {"v": there.v})) <= library.error
    weights = torch.randn_like(want)
    (want_slope,), (got_slope,) = (torch.autograd.grad((y * weights).sum(), x) for y in (want, got))
    if most:
        assert torch.equal(got, want) and want.count_nonzero() < 0.9 * want.numel()
    else:
        assert distance(got, want) <= library.error
    for share, scale in re.findall(r"(\d+)% (?:of spikes )?at inputs up to ([\d.]+)", row.differs):
        assert round(100 * wrong(library, row, page, float(scale))) == int(share)
    percent = re.search(r"gradients by (\d+)%", row.differs)
    if percent:
        assert distance(got_slope, want_slope) == pytest.approx(float(percent[1]) / 100, rel=0.2)
    else:
        assert distance(got_slope, want_slope) <= library.error


def test_the_page_has_a_table_for_every_library():
    assert {row.library for row in ROWS} == set(LIBRARIES)
    assert len(ROWS) > 40 and len({row.there for row in ROWS}) == len(ROWS)

"""The C++ loop against the reference step: layouts, precisions, gradients asked for, threads, spikes bit for bit."""

import itertools

import pytest
import torch

import tracetorch as tt
from tests.support.backends import scan, why_not
from tests.support.compositions import HARD, assert_close

LAYOUTS = {
    # shape of x, dim of one step
    "one value": ((7, 1), 0),
    "fewer than a vector": ((23, 3, 5), 1),
    "several rows in a tile, the last one short": ((11, 300, 2), 1),
    "more neurons than lanes": ((12, 3, 500), 1),
    "a tile and one lane": ((12, 2, 257), 1),
    "conv maps": ((12, 3, 6, 4, 5), 1),
    "few neurons, wide maps": ((11, 2, 3, 20, 20), 1),
    "neurons first": ((31, 4, 70), 0),
    "one step": ((1, 2, 9), 1),
    "a whole number of segments": ((20, 2, 9), 1),
}


def problem(cls, shape, dim, dtype=torch.float64, io=None, given=True, seed=0, **options):
    """A step, its input, states and parameters, all of them leaves."""
    layer = cls(shape[1 + dim], dim=dim, **options).to(dtype)
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=g, dtype=torch.float64).to(io or dtype).requires_grad_()
    params = {
        k: (p.detach() * (0.8 + 0.3 * torch.rand(p.shape, generator=g, dtype=dtype))).requires_grad_()
        for k, p in layer.stored().items()
    }
    states = dict.fromkeys(layer.pipeline.states)
    for k in states if given else ():
        states[k] = torch.randn(shape[1:], generator=g, dtype=torch.float64).mul(0.3).to(dtype).requires_grad_()
    return layer.bound_step(), x, states, params


def run(backend, step, x, states, params, dim, record=()):
    """Output, final states and recordings, then the gradients of a fixed loss over all of them."""
    y, new, recordings = scan(backend, step, x, states, params, dim, lambda: torch.tensor([5, 7]), record)
    g = torch.Generator().manual_seed(1)
    values = [y, *new.values(), *recordings.values()]
    loss = sum((v.double() * torch.randn(v.shape, generator=g, dtype=torch.float64)).sum() for v in values)
    leaves = [x, *(s for s in states.values() if s is not None), *params.values()]
    return [*values, *torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name):
    shape, dim = LAYOUTS[name]
    parts = problem(tt.snn.SRLITS, shape, dim, rec_weight_rank=0, bias_rank=0)
    assert_close(run("cpp", *parts, dim), run("eager", *parts, dim))


@pytest.mark.parametrize("given", [True, False], ids=["start states", "fresh"])
def test_every_gradient_of_the_largest_neuron(given):
    parts = problem(tt.snn.DSRLITS, (25, 4, 33), 1, given=given)
    record = ("pos_mem", "potential", "spike")
    assert_close(run("cpp", *parts, 1, record), run("eager", *parts, 1, record))


def test_random_compositions():
    stages = [(), (tt.Dual,), (tt.Synaptic,), (tt.Recurrent,), (tt.EMA,)]
    ends = [(tt.Binary, tt.Adaptive), (tt.Ternary, tt.Adaptive), (tt.Scaled,), (tt.Binary, tt.RelativeRefractory)]
    g = torch.Generator().manual_seed(0)
    every = list(itertools.product(stages, stages, ends))
    for k in torch.randperm(len(every), generator=g)[:12].tolist():
        first, second, last = every[k]
        cls = tt.compose(*dict.fromkeys(first + second), *last)
        parts = problem(cls, (14, 2, 6), 1, seed=k)
        assert_close(run("cpp", *parts, 1), run("eager", *parts, 1))


STRIDES = {
    "every other step": lambda x: x.repeat_interleave(2, 0)[::2],
    "batch first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "the same step again": lambda x: x[:1].expand(x.shape),
    "columns": lambda x: x.repeat(1, 1, 2)[..., : x.shape[2]],
    "reversed layout": lambda x: x.permute(2, 1, 0).contiguous().permute(2, 1, 0),
}


@pytest.mark.parametrize("name", STRIDES)
def test_strides(name):
    step, x, states, params = problem(tt.snn.LIB, (13, 3, 5), 1)
    x = STRIDES[name](x.detach())
    before = x.clone()
    parts = step, x.requires_grad_(), states, params
    assert_close(run("cpp", *parts, 1), run("eager", *parts, 1))
    assert torch.equal(x, before)


@pytest.mark.parametrize("io", [torch.bfloat16, torch.float16, torch.float32])
def test_narrow_input_is_the_rounded_computation(io):
    step, x, states, params = problem(tt.snn.DSLIT, (30, 3, 40), 1, dtype=torch.float32, io=io)
    wide = run("cpp", step, x.detach().float().requires_grad_(), states, params, 1)
    narrow = run("cpp", step, x, states, params, 1)
    assert narrow[0].dtype == io and narrow[len(states) + 1].dtype == io
    assert torch.equal(narrow[0], wide[0].to(io))
    assert_close(narrow[1 : 1 + len(states)], wide[1 : 1 + len(states)], error=0)


def test_float32_input_with_float64_parameters():
    parts = problem(tt.snn.LIB, (13, 3, 5), 1, dtype=torch.float64, io=torch.float32)
    assert_close(run("cpp", *parts, 1), run("eager", *parts, 1))


def test_hard_spikes_are_those_of_eager_bit_for_bit():
    steps = 0
    for cls in (tt.snn.LIB, tt.snn.DSRLITS, tt.snn.SLIT):
        step, x, states, params = problem(cls, (60, 56, 1000), 1, dtype=torch.float32, spike_fn=HARD, given=False)
        with torch.no_grad():
            want = scan("eager", step, 2 * x, states, params)
            got = scan("cpp", step, 2 * x, states, params)
        assert torch.equal(got[0], want[0])
        assert all(torch.equal(got[1][k], want[1][k]) for k in want[1])
        assert 0.02 < (got[0] != 0).float().mean() < 0.98
        steps += x.numel()
    assert steps >= 10_000_000


def needs(tensors, wanted):
    return [t.detach().requires_grad_(k in wanted) for k, t in enumerate(tensors)]


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (3, 4), (0, 1, 3), ()], ids=str)
def test_only_the_gradients_asked_for(wanted):
    step, x, states, params = problem(tt.snn.LIB, (13, 3, 5), 1)
    leaves = needs([x, *states.values(), *params.values()], wanted)
    found = []
    for backend in ("cpp", "eager"):
        y, new, _ = scan(backend, step, leaves[0], {"mem": leaves[1]}, dict(zip(params, leaves[2:], strict=True)))
        assert y.requires_grad == bool(wanted)
        if wanted:
            found.append(torch.autograd.grad((y * y).sum() + new["mem"].sum(), [leaves[k] for k in wanted]))
    assert_close(*found) if wanted else None


@pytest.mark.parametrize("used", ["y", "state", "recording"])
def test_cotangents_that_are_missing(used):
    step, x, states, params = problem(tt.snn.LIB, (13, 3, 5), 1)
    found = []
    for backend in ("cpp", "eager"):
        y, new, recordings = scan(backend, step, x, states, params, record=("potential",))
        value = {"y": y, "state": new["mem"], "recording": recordings["potential"]}[used]
        found.append(torch.autograd.grad(value.sum(), [x, *states.values(), *params.values()]))
    assert_close(*found)


def test_gradients_do_not_depend_on_the_number_of_threads():
    parts = problem(tt.snn.SLITS, (40, 64, 200), 1, dtype=torch.float32, bias_rank=0)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            found.append(run("cpp", *parts, 1))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_nothing_is_left_unwritten(monkeypatch):
    """Outputs are allocated empty: filled with NaN first, a store that is forgotten shows."""
    for name in ("empty", "empty_like"):
        real = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, real=real, **k: real(*a, **k).fill_(float("nan")))
    for shape, dim in LAYOUTS.values():
        found = run("cpp", *problem(tt.snn.RLIB, shape, dim), dim)
        assert all(torch.isfinite(v).all() for v in found)


def test_nan_and_inf_go_where_they_go_in_eager():
    step, x, states, params = problem(tt.snn.SLIT, (6, 2, 8), 1)
    with torch.no_grad():
        x[1, 0, :5] = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e300, -0.0])
        got, want = ([y, *new.values()] for y, new, _ in (scan(b, step, x, states, params) for b in ("cpp", "eager")))
    assert got[0].isnan().any()
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())
        assert torch.equal(one[~one.isfinite()].nan_to_num(), other[~other.isfinite()].nan_to_num())
        for a, b in zip(one.unbind(-1), other.unbind(-1), strict=True):      # each neuron by its own largest number
            assert_close(a[a.isfinite()], b[b.isfinite()])


def test_draws_are_those_of_eager_and_come_again_in_backward():
    random = {"spike_fn": tt.functional.Logistic(2.0), "quant_fn": tt.functional.stochastic_round_ste(0.5)}
    parts = problem(tt.snn.LIB, (25, 3, 70), 1, **random)
    got, want = (run(b, *parts, 1) for b in ("cpp", "eager"))
    assert torch.equal(got[0], want[0])
    assert_close(got, want)


def test_memory_is_that_of_the_checkpoints():
    """100,000 steps, and 2 million neurons: what is kept is the states at every tenth step."""
    for shape in ((100_000, 1, 8), (12, 2, 1_000_000)):
        step, x, states, params = problem(tt.snn.LIB, shape, 1, dtype=torch.float32, given=False)
        y, new, _ = scan("cpp", step, x, states, params)
        kept = y.grad_fn.saved_tensors[2]     # after input and the key of random numbers
        assert kept.numel() == (shape[0] - 1) // 10 * new["mem"].numel()
        gx, gbeta = torch.autograd.grad(y.mean(), [x, params["beta"]])
        assert torch.isfinite(gx).all() and torch.isfinite(gbeta).all()


def test_wrong_dtype_says_what_is_wanted():
    step, x, _, params = problem(tt.snn.LIB, (3, 2, 4), 1)
    with pytest.raises(TypeError, match=r"computes in torch.float64 on steps of 8 elements, but got torch.float32"):
        scan("cpp", step, x, {"mem": torch.zeros(2, 4)}, params)


REASONS = {
    "an integer input": (lambda x: x.int(), "the input is torch.int32; compiled C"),
    "on another device": (lambda x: x.to("meta"), "the input is on meta"),
}


@pytest.mark.parametrize("name", REASONS)
def test_why_not(name):
    make, text = REASONS[name]
    assert text in why_not("cpp", tt.snn.LIB(4), make(torch.zeros(3, 4)))

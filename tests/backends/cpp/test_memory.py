"""Inputs are read, and outputs written, as they lie in memory: nothing is copied, and nothing else comes out."""

import copy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import tracetorch as tt
from tests.backends.cpp.test_scan import problem, run
from tests.support.backends import scan
from tests.support.compositions import HARD, assert_close
from tests.support.rounding import assert_as_right, nearby, output

COPIES = {"copy_", "clone", "contiguous", "_to_copy"}

# how [T, *step] lies: shape, dim of one step, a tensor of the same numbers that lies otherwise
LIES = {
    "time second": ((12, 5, 300), 1, lambda x: x.transpose(0, 1).contiguous().transpose(0, 1)),
    "time second, few neurons": ((23, 70, 3), 1, lambda x: x.transpose(0, 1).contiguous().transpose(0, 1)),
    "time last": ((12, 5, 70), 1, lambda x: x.permute(1, 2, 0).contiguous().permute(2, 0, 1)),
    "time second, maps": ((11, 5, 3, 4, 6), 1, lambda x: x.transpose(0, 1).contiguous().transpose(0, 1)),
    "channels last": ((11, 2, 30, 4, 5), 1, lambda x: x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)),
    "time second, channels last": (
        (11, 3, 30, 4, 5), 1, lambda x: x.permute(1, 0, 3, 4, 2).contiguous().permute(1, 0, 4, 2, 3)),
    "neurons outside": ((12, 40, 30), 1, lambda x: x.permute(0, 2, 1).contiguous().permute(0, 2, 1)),
    "all turned round": ((12, 40, 30), 1, lambda x: x.permute(2, 1, 0).contiguous().permute(2, 1, 0)),
}
PARTS = {
    "part of the neurons": ((12, 5, 70), 1, lambda x: x.repeat(1, 1, 2)[..., :70]),
    "every other element": ((12, 10, 70), 1, lambda x: x.repeat_interleave(2, 1)[:, ::2]),
    "every other neuron": ((12, 3, 70), 1, lambda x: x.repeat_interleave(2, 2)[..., ::2]),
}
REPEATED = {
    "one element for the batch": ((12, 5, 70), 1, lambda x: x[:, :1].expand(x.shape)),
    "one step": ((12, 5, 70), 1, lambda x: x[:1].expand(x.shape)),
    "one number": ((12, 5, 70), 1, lambda x: x[:1, :1, :1].expand(x.shape)),
}
EVERY = {**LIES, **PARTS, **REPEATED}


class Copied(TorchDispatchMode):
    """Counts copies of `least` elements or more: steps, which are larger than parameters, whose values are copied."""

    def __init__(self, least):
        super().__init__()
        self.least, self.count = least, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        self.count += name in COPIES and isinstance(out, torch.Tensor) and out.numel() >= self.least
        return out


def laid(name, **options):
    shape, dim, lay = EVERY[name]
    step, x, states, params = problem(tt.snn.DSRLITS, shape, dim, **options)
    x = lay(x.detach())
    assert not x.is_contiguous() or name in REPEATED
    return (step, x, states, params), dim


RECORD = ("pos_mem", "spike")


@pytest.mark.parametrize("name", EVERY)
def test_numbers_are_those_of_eager_in_float64(name):
    parts, dim = laid(name)
    parts[1].requires_grad_()
    before = parts[1].detach().clone()
    assert_close(run("cpp", *parts, dim, RECORD), run("eager", *parts, dim, RECORD))
    assert torch.equal(parts[1], before)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("io", [torch.float32, torch.bfloat16])
def test_bits_are_those_of_a_contiguous_input(name, io):
    """All but sums over elements that follow one another in another order."""
    (step, x, states, params), dim = laid(name, dtype=torch.float32, io=io, spike_fn=HARD)
    got = run("cpp", step, x.requires_grad_(), states, params, dim, RECORD)
    want = run("cpp", step, x.detach().contiguous().requires_grad_(), states, params, dim, RECORD)
    moved = name in ("channels last", "time second, channels last", "neurons outside", "all turned round")
    exact = len(got) - len(params) * moved
    for a, b in zip(got[:exact], want[:exact], strict=True):
        assert torch.equal(a, b)
    assert_close(got[exact:], want[exact:])


@pytest.mark.parametrize("name", LIES)
def test_output_gradient_and_recordings_lie_as_the_input_does(name):
    (step, x, states, params), dim = laid(name)
    found = run("cpp", step, x.requires_grad_(), states, params, dim, RECORD)
    count = len(states)
    y, gx, recordings = found[0], found[1 + count + len(RECORD)], found[1 + count : 1 + count + len(RECORD)]
    assert all(t.stride() == x.stride() for t in (y, gx, *recordings))


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_copied(name):
    (step, x, _, params), dim = laid(name)
    x.requires_grad_()
    states = dict.fromkeys(step.pipeline.states)
    with Copied(x[0].numel()) as copied:
        y, new, _ = scan("cpp", step, x, states, params, dim)
        gy = torch.empty_like(y).fill_(0.5)
        torch.autograd.grad(y, [x, *params.values()], gy, retain_graph=True)
        torch.autograd.grad(y.sum(), [x, *params.values()])
        scan("cpp", step, x, new, params, dim)
    assert copied.count == 0


def test_what_draws_keeps_the_order_of_its_elements():
    random = {"spike_fn": tt.functional.Logistic(2.0), "quant_fn": tt.functional.stochastic_round_ste(0.5)}
    for shape, dim, lay in LIES.values():
        step, x, states, params = problem(tt.snn.LIB, shape, dim, **random)
        parts = step, lay(x.detach()).requires_grad_(), states, params
        got, want = (run(b, *parts, dim) for b in ("cpp", "eager"))
        assert torch.equal(got[0], want[0])
        assert_close(got, want)


def test_what_must_be_copied_is_copied_once():
    step, x, _, params = problem(tt.snn.LIB, (12, 4, 5, 70), 2)
    x = x.detach().repeat_interleave(2, 1).repeat_interleave(2, 3)[:, ::2, :, ::2].requires_grad_()
    with Copied(x[0].numel()) as copied:
        y, _, _ = scan("cpp", step, x, {}, params, 2)
        torch.autograd.grad(y, [x, *params.values()], torch.ones_like(y))
    assert copied.count == 1
    states = dict.fromkeys(step.pipeline.states)
    assert_close(run("cpp", step, x, states, params, 2), run("eager", step, x, states, params, 2))


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(nn.Conv2d(2, 8, 3), tt.snn.LIB(8, dim=-3), nn.Conv2d(8, 3, 3), tt.snn.LI(3, dim=-3))

    def forward(self, x):
        return self.parts(x)


NETWORKS = {
    "time second": (lambda: nn.Sequential(nn.Linear(30, 20), tt.snn.LIB(20), nn.Linear(20, 5), tt.snn.LI(5)),
                    torch.rand(6, 11, 30), 1),
    "channels last": (lambda: Conv().to(memory_format=torch.channels_last),
                      torch.rand(9, 3, 8, 9, 2).permute(0, 1, 4, 2, 3), 0),
    "channels last, time second": (lambda: Conv().to(memory_format=torch.channels_last),
                                   torch.rand(3, 9, 8, 9, 2).permute(0, 1, 4, 2, 3), 1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_copy_nothing(name):
    make, x, time_dim = NETWORKS[name]
    model = make()
    with Copied(x.numel() // 8) as copied, torch.no_grad():
        y = tt.scan(model, x, time_dim=time_dim, check=False)
    assert copied.count == 0

    def eager(model, x):
        return output(model, lambda x: tt.scan(model, x, backend="eager", check=False), x)

    steps = x.movedim(time_dim, 0).contiguous()
    references = [eager(*one) for one in nearby(model, steps)]
    assert_as_right([y.movedim(time_dim, 0)], references, eager(copy.deepcopy(model).double(), steps.double()))
    assert y.stride()[:2] == y.contiguous().stride()[:2]

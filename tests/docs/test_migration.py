"""The neurons of the migration page against the equations of the libraries that they stand for."""

import pytest
import torch

import tracetorch as tt

from .pages import ROOT, run

N = 16


@pytest.fixture(scope="module")
def page():
    return run(ROOT / "docs" / "migration.md")


@pytest.fixture
def x():
    return torch.rand(80, 3, N, dtype=torch.float64)


def fires(v):
    return (v > 0).to(v.dtype)


def compare(layer, x, equations, **state):
    """Scan, and step the library's equations `(x_t, state) -> spikes, state`; they must send the same spikes."""
    y = tt.scan(layer.double(), x)
    state = {name: torch.zeros_like(x[0]) for name in state}
    spikes = []
    for x_t in x:
        spike, state = equations(x_t, **state)
        spikes.append(spike)
    spikes = torch.stack(spikes)
    assert spikes.sum() > 20, "the neurons hardly fire"
    assert torch.equal(y, spikes)


def test_norse_one_step_earlier(page, x):
    """Norse's `lif_feed_forward_step` at its defaults: dt 1 ms, tau_syn 5 ms, tau_mem 10 ms."""
    y = tt.scan(page["norse_lif"](N).double(), 5.0 * x)
    v, i, spikes = torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
    for x_t in x:
        v = v + 0.1 * (i - v)
        i = i - 0.2 * i
        z = fires(v - 1.0)
        v, i = (1 - z) * v, i + x_t
        spikes.append(z)
    assert sum(spikes).sum() > 20
    assert torch.equal(y[:-1], torch.stack(spikes)[1:])


def test_snntorch_leaky(page, x):
    def equations(x_t, mem):
        mem = 0.9 * mem + x_t
        spike = fires(mem - 1)
        return spike, {"mem": mem - spike}

    compare(page["Leaky"](N, beta=0.9), 0.5 * x, equations, mem=0)


def test_snntorch_leaky_resets_late(page, x):
    def equations(x_t, mem):
        mem = 0.9 * mem + x_t - fires(mem - 1)
        return fires(mem - 1), {"mem": mem}

    compare(page["LateLeaky"](N, beta=0.9), 0.5 * x, equations, mem=0)


def test_snntorch_zero(page, x):
    def equations(x_t, mem):
        mem = 0.9 * (1 - fires(mem - 1)) * mem + x_t
        return fires(mem - 1), {"mem": mem}

    compare(page["LeakyZero"](N, beta=0.9), 0.5 * x, equations, mem=0)


def test_spikingjelly_lif(page, x):
    def equations(x_t, v):
        v = v + (x_t - v) / 2.0
        spike = fires(v - 1)
        return spike, {"v": (1 - spike) * v}

    compare(page["LIFNode"](N, beta=0.5), 3 * x, equations, v=0)


def test_spikingjelly_soft_reset(page, x):
    def equations(x_t, v):
        v = v + (x_t - v) / 2.0
        spike = fires(v - 1)
        return spike, {"v": v - spike}

    compare(page["SoftLIFNode"](N, beta=0.5), 3 * x, equations, v=0)


def test_spikingjelly_if(page, x):
    def equations(x_t, v):
        spike = fires(v + x_t - 1)
        return spike, {"v": (1 - spike) * (v + x_t)}

    compare(page["IFNode"](N), x, equations, v=0)


def test_tether_lif(page, x):
    def equations(x_t, v):
        v = 0.9 * v + x_t
        spike = (v >= 1).to(v.dtype)
        return spike, {"v": (1 - spike) * v}

    compare(tt.snn.LIF(N, beta=0.9), 0.5 * x, equations, v=0)


def test_tether_alif(x):
    def equations(x_t, v, a):
        v = 0.9 * v + x_t
        spike = (v >= 1 + 0.5 * a).to(v.dtype)
        return spike, {"v": (1 - spike) * v, "a": 0.8 * a + spike}

    compare(tt.snn.ALIF(N, beta=0.9, rho=0.8, threshold=1.0, kappa=0.5), 0.5 * x, equations, v=0, a=0)


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.0])
def test_arctan_of_half_their_alpha(alpha):
    """snnTorch and SpikingJelly: alpha/2 / (1 + (pi/2*alpha*x)**2)."""
    u = torch.linspace(-2, 2, 101, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(tt.functional.Arctan(alpha / 2).double()(u).sum(), u)
    torch.testing.assert_close(slope, alpha / 2 / (1 + (torch.pi / 2 * alpha * u.detach()) ** 2))

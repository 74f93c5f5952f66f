"""Every row of the other tables of the migration page: what is written there against what is written here."""

import norse.torch
import pytest
import snntorch as snn
import torch
from snntorch import utils
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import tracetorch as tt
from tests.docs.pages import ROOT

from . import tracetorch019  # noqa: F401  (its tests join below)
from .page import N, rows
from .words import WORDS, word

ROWS = [row for row in rows("here") if row.library != "Tether"]      # whose rows are tested in `make test`
STEPS = 40

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_word(row, page, _float64):
    WORDS[row.library, row.there](page)


def test_no_test_is_without_a_row():
    assert {(row.library, row.there) for row in ROWS} == set(WORDS)


def inputs(scale=0.7):
    return scale * torch.rand(STEPS, 3, N)


def close(got, want):
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6 * float(want.abs().max()))


def stepped(lif, x):
    """Spikes and membranes of a snnTorch neuron."""
    outputs = [lif(x_t) for x_t in x]
    return torch.stack([spk for spk, _ in outputs]), torch.stack([mem for _, mem in outputs])


@word("snnTorch", "`learn_beta=True`, `learn_threshold=True`")
def learned_parameters_have_the_same_gradients(page):
    x, weights = inputs(), torch.randn(STEPS, 3, N)
    there = snn.Leaky(beta=torch.tensor(0.9), learn_beta=True, learn_threshold=True)
    (stepped(there, x)[0] * weights).sum().backward()
    here = page["LateLeaky"](N, beta=0.9, beta_rank=0, threshold_rank=0)
    (tt.scan(here, x) * weights).sum().backward()
    raws = [here.raw_beta, here.raw_threshold]
    slopes = torch.autograd.grad(here.beta + here.threshold, raws)
    for raw, slope, value in zip(raws, slopes, (there.beta, there.threshold), strict=True):
        close(raw.grad / slope, value.grad)


@word("snnTorch", "a `beta` and a threshold that don't train")
def nothing_trains(page):
    assert not list(snn.Leaky(beta=0.9).parameters())
    assert not list(page["LateLeaky"](N, beta=0.9, learn_beta=False, learn_threshold=False).parameters())


@word("snnTorch", "`init_hidden=True`")
def states_are_kept(page):
    x, there, here = inputs(), snn.Leaky(beta=0.9, init_hidden=True), page["LateLeaky"](N, beta=0.9)
    for x_t in x:
        assert torch.equal(here(x_t), there(x_t))


@word("snnTorch", "`spk, mem = lif(x, mem)`")
def the_membrane_is_an_attribute(page):
    there, here = snn.Leaky(beta=0.9), page["LateLeaky"](N, beta=0.9)
    mem = there.init_leaky()
    for x_t in inputs():
        spk, mem = there(x_t, mem)
        assert torch.equal(here(x_t), spk)
        close(here.mem, mem)


@word("snnTorch", "`utils.reset(net)`")
def a_new_sequence(page):
    x = inputs()
    there = nn.Sequential(snn.Leaky(beta=0.9, init_hidden=True))
    here = nn.Sequential(page["LateLeaky"](N, beta=0.9))
    for _ in range(2):
        utils.reset(there)
        tt.zero_states(here)
        assert torch.equal(tt.scan(here, x), torch.stack([there(x_t) for x_t in x]))


@word("snnTorch", "`lif.detach_hidden()`")
def gradients_are_cut(page):
    x = inputs().requires_grad_()
    there, here = snn.Leaky(beta=0.9, init_hidden=True), page["LateLeaky"](N, beta=0.9)
    slopes = []
    for run, detach in ((lambda part: torch.stack([there(x_t) for x_t in part]), lambda: there.mem.detach_()),
                        (lambda part: tt.scan(here, part), lambda: tt.detach_states(here))):
        run(x[:20])
        detach()
        slopes += torch.autograd.grad(run(x[20:]).sum(), x)
    close(slopes[1], slopes[0])
    assert not slopes[0][:20].any() and slopes[0][20:].any()


@word("snnTorch", "a list of `mem`, collected in a loop")
def membranes_over_time(page):
    x = inputs()
    spk, mem = stepped(snn.Leaky(beta=0.9), x)
    y, recorded = tt.scan(page["LateLeaky"](N, beta=0.9), x, record="mem")
    assert torch.equal(y, spk)
    close(recorded["mem"], mem)


@word("Norse", "parameters that don't train")
def nothing_trains_in_norse(page):
    assert not list(norse.torch.LIFCell().parameters())
    assert not list(page["NorseLIF"](N, learn_alpha=False, learn_beta=False, learn_threshold=False).parameters())


@word("Norse", "`norse.torch.functional.threshold`")
def threshold_functions(page):
    from norse.torch.functional.threshold import threshold

    x = torch.linspace(-2, 2, 101, requires_grad=True)
    for method in ("heaviside", "super", "triangle", "tanh", "circ", "heavi_erfc"):
        alpha = 1.0 if method == "super" else 2.0       # released Norse does not look at that of "super"
        there, here = threshold(x, method, alpha), tt.functional.threshold(x, method, alpha)
        assert torch.equal(here, there)
        if method != "heaviside":
            (want,), (got,) = (torch.autograd.grad(y.sum(), x) for y in (there, here))
            close(got, want)


@word("Norse", "`SequentialState(...)`, `y, state = model(x, state)`")
def containers(page):
    linear = nn.Linear(N, N)
    there = norse.torch.SequentialState(linear, norse.torch.LIFCell())
    here = nn.Sequential(linear, page["NorseLIF"](N))
    state = None
    for x_t in inputs(8.0):
        y, state = there(x_t, state)
        assert torch.equal(here(x_t), y.to_dense())


@word("Norse", "`LIF()` over time")
def over_time(page):
    x = inputs(2.0)
    y, _ = norse.torch.LIF()(x)
    assert y.sum() > 100
    assert torch.equal(tt.scan(page["NorseLIF"](N), x), y.to_dense())


@word("SpikingJelly", "`ParametricLIFNode`'s `w`")
def the_learned_time_constant(page):
    x, weights = inputs(3.0), torch.randn(STEPS, 3, N)
    there = neuron.ParametricLIFNode(init_tau=2.5, step_mode="m")
    here = page["LIFNode"](N, beta=1 - 1 / 2.5, beta_rank=0)
    (there(x) * weights).sum().backward()
    (tt.scan(here, x) * weights).sum().backward()
    close(-here.raw_beta, there.w)
    close(-here.raw_beta.grad, there.w.grad)


@word("SpikingJelly", "a decay that doesn't train, as in `LIFNode`")
def nothing_trains_in_spikingjelly(page):
    assert not list(neuron.LIFNode().parameters())
    assert not list(page["LIFNode"](N, beta=0.5, learn_beta=False).parameters())


def networks(page):
    """The same network twice."""
    linear = nn.Linear(N, N)
    there = nn.Sequential(layer.Linear(N, N), neuron.LIFNode())
    there[0].load_state_dict(linear.state_dict())
    functional.set_step_mode(there, "m")
    return there, nn.Sequential(linear, page["LIFNode"](N, beta=0.5))


@word("SpikingJelly", '`functional.set_step_mode(net, "m")`')
def many_steps(page):
    x = inputs(8.0)
    there, here = networks(page)
    assert there(x).sum() > 100
    functional.reset_net(there)
    assert torch.equal(tt.scan(here, x), there(x))


@word("SpikingJelly", "`functional.reset_net(net)`")
def a_new_sequence_in_spikingjelly(page):
    x = inputs(8.0)
    there, here = networks(page)
    for _ in range(2):
        functional.reset_net(there)
        tt.zero_states(here)
        assert torch.equal(tt.scan(here, x), there(x))


@word("SpikingJelly", "`functional.detach_net(net)`")
def gradients_are_cut_in_spikingjelly(page):
    x = inputs(8.0).requires_grad_()
    there, here = networks(page)
    there(x[:20]), tt.scan(here, x[:20])
    functional.detach_net(there)
    tt.detach_states(here)
    (want,), (got,) = (torch.autograd.grad(y.sum(), x) for y in (there(x[20:]), tt.scan(here, x[20:])))
    close(got, want)
    assert not want[:20].any()


@word("SpikingJelly", "`store_v_seq=True`, `v_seq`")
def membranes_over_time_in_spikingjelly(page):
    x, there = inputs(3.0), neuron.LIFNode(step_mode="m", store_v_seq=True)
    spikes = there(x)
    y, recorded = tt.scan(page["LIFNode"](N, beta=0.5), x, record="mem")
    assert torch.equal(y, spikes)
    close(recorded["mem"], there.v_seq)


def test_the_versions_are_those_of_the_page():
    from importlib.metadata import version

    text = (ROOT / "docs" / "migration.md").read_text()
    for name in ("snnTorch", "Norse", "SpikingJelly", "sinabs", "Rockpool"):
        assert f"{name} {version(name)}" in text

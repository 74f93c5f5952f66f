"""Gradients of what is stored of a parameter: through its activation, inside the kernel or around it."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

import tracetorch as tt
from tests.support.callables import Slope, scanned
from tests.support.compositions import assert_close
from tracetorch.fusion.activations import derivative_of

KINDS = {"decay": torch.sigmoid, "positive": F.softplus, "bias": torch.arcsinh, "exponential": torch.exp}


def clipped(raw):
    return F.leaky_relu(raw, 0.1) + 0.05


class Gain(tt.Stage):
    """The drive, times a parameter whose activation is the test's."""

    place = "drive"

    def __init__(self, activation=torch.sigmoid):
        self.activation = activation

    def parameters(self):
        gain = tt.Parameter(0.7)
        gain.activation = self.activation
        return {"gain": gain}

    def step(self, s):
        s.drive = s.drive * s.gain


def layer_of(activation, **options):
    layer = tt.compose(Gain(activation), tt.Binary, name=f"Gain_{activation.__name__}")(4, **options).double()
    with torch.no_grad():
        layer.raw_gain.copy_(torch.linspace(-3.0, 25.0, 4) if layer.raw_gain.ndim else torch.tensor(1.5))
    return layer


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", KINDS)
def test_inside_the_kernel(name, rank):
    assert derivative_of(KINDS[name], torch.float64) is not None
    layer = layer_of(KINDS[name], gain_rank=rank)
    assert_close(scanned(layer, "cpp"), scanned(layer, "eager"))


@pytest.mark.parametrize("rank", [0, 1])
def test_around_the_kernel(rank):
    """What a user writes in Python may change from call to call."""
    assert derivative_of(clipped, torch.float64) is None
    layer = layer_of(clipped, gain_rank=rank)
    assert_close(scanned(layer, "cpp"), scanned(layer, "eager"))


def test_a_hand_worked_gradient():
    """One step from rest: y = beta*0 + x, so only the gain matters: d(x sigmoid(r))/dr = x p (1 - p)."""
    layer = tt.compose(Gain, name="LeakyGain")(1).double()
    tt.scan(layer, torch.full((1, 1), 3.0, dtype=torch.float64), backend="cpp").sum().backward()
    p = torch.sigmoid(layer.raw_gain.detach())
    assert_close(layer.raw_gain.grad, 3.0 * p * (1 - p), 1e-12)


@pytest.mark.parametrize("options", [{"learn_beta": False}, {"learn_threshold": False, "beta_rank": 0}])
def test_parameters_that_do_not_learn(options):
    layer = tt.snn.SLIB(4, **options).double()
    assert_close(scanned(layer, "cpp"), scanned(layer, "eager"))


def test_parameters_of_lower_precision():
    layer = tt.snn.SLIB(4).to(torch.bfloat16)
    tt.scan(layer, torch.randn(7, 2, 4), backend="cpp").sum().backward()
    assert all(p.grad.dtype == torch.bfloat16 and p.grad.abs().sum() > 0 for p in layer.parameters())


def test_a_callable_per_neuron_with_neurons_elsewhere_is_stepped():
    layer = tt.snn.LIB(4, dim=1, spike_fn=Slope((4,))).double()
    with pytest.warns(UserWarning, match=r"LIB is scanned step by step in Python: spike_fn.slope has shape \[4\]"):
        y = tt.scan(layer, torch.rand(3, 2, 4, 4, dtype=torch.float64))
    assert y.shape == (3, 2, 4, 4)
    layer.zero_states()
    with pytest.raises(RuntimeError, match=r"backend='cpp' can't run LIB: spike_fn.slope has shape \[4\]"):
        tt.scan(layer, torch.rand(3, 2, 4, 4, dtype=torch.float64), backend="cpp")


def test_a_first_scan_does_not_import_the_compiler_of_torch():
    """Two seconds, which some decompositions in torch would cost."""
    code = """
import sys, torch, tracetorch as tt
for cls in (tt.snn.DSRLITS, tt.snn.LIB):
    tt.scan(cls(4), torch.rand(5, 2, 4), backend="cpp").sum().backward()
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""tt.Feedback is a layer like any other: states, recording, padding, copies, dtypes, other paths, what it refuses."""

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import assert_close
from tests.support.feedback import feedback, gradients, reference, reference_alone
from tracetorch.backends import plan


def test_its_states_are_its_own_and_the_neurons():
    layer = feedback(tt.snn.SLIB(6))
    x = torch.randn(9, 2, 6, dtype=torch.float64)
    assert layer.save_states() == {}
    tt.scan(layer, x[:5])
    saved = layer.save_states()
    assert list(saved) == ["fed", "neuron.syn", "neuron.mem"]
    rest = tt.scan(layer, x[5:])
    other = feedback(tt.snn.SLIB(6))
    other.load_state_dict(layer.state_dict())
    other.load_states(saved)
    assert torch.equal(tt.scan(other, x[5:]), rest)
    tt.detach_states(layer)
    assert not layer.fed.requires_grad and not layer.neuron.mem.requires_grad
    layer.zero_states()
    assert layer.fed is None and layer.neuron.mem is None
    assert {name.split(".")[0] for name in layer.state_dict()} == {"neuron", "path"}


def test_step_is_a_pure_function():
    layer = feedback(tt.snn.LIB(6))
    x = torch.randn(4, 2, 6, dtype=torch.float64)
    want = tt.scan(layer, x)
    layer.zero_states()
    states, ys = None, []
    for x_t in x:
        y, states = layer.step(x_t, states)
        ys.append(y)
    assert torch.equal(torch.stack(ys), want)
    assert layer.fed is None and layer.neuron.mem is None and set(states) == {"fed", "mem"}
    with pytest.raises(ValueError, match="no state is called 'membrane'; there are fed, mem, rng"):
        layer.step(x[0], {"membrane": x[0]})


@pytest.mark.parametrize("fold", [True, False])
def test_record_lengths_and_time_dim(backend, fold):
    net = nn.Sequential(nn.Linear(3, 6), feedback(tt.snn.LIB(6)), nn.Linear(6, 2)).double()
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    y, recorded = tt.scan(net, x, time_dim=1, record=("mem", "fed"), lengths=[9, 4], backend=backend, fold=fold)
    states = net[1].save_states()
    assert list(recorded) == ["1.fed", "1.mem"]
    net[1].zero_states()
    inside = net[0](x.movedim(1, 0))
    hidden = reference(net[1], inside[:, :1])
    want = net[2](hidden)
    assert_close(y[0], want[:, 0])
    assert_close(recorded["1.fed"][0], hidden[:, 0])
    assert_close(states["fed"][0], hidden[-1, 0])
    net[1].zero_states()
    short = reference(net[1], inside[:4, 1:])
    assert_close(y[1, :4], net[2](short)[:, 0])
    assert torch.equal(y[1, 4:], torch.zeros_like(y[1, 4:]))
    assert_close(states["fed"][1], short[-1, 0])
    assert_close(states["neuron.mem"][1], net[1].neuron.mem[0])


def test_padding_has_no_gradient():
    layer = feedback(tt.snn.LIB(6))
    x = torch.randn(9, 2, 6, dtype=torch.float64)
    x[4:, 1] = float("nan")
    x.requires_grad_()
    y = tt.scan(layer, x, lengths=[9, 4])
    got = gradients(layer, y, x)
    layer.zero_states()
    whole = reference(layer, x[:, :1])
    short = reference_alone(layer, x[:4, 1:])
    want = torch.zeros_like(y)
    want = torch.cat([whole, torch.cat([short, torch.zeros(5, 1, 6, dtype=torch.float64)])], 1)
    assert_close(got, gradients(layer, want, x))


def test_a_failed_scan_changes_no_state():
    class Fails(nn.Module):
        def forward(self, x):
            raise RuntimeError("no")

    net = nn.Sequential(feedback(tt.snn.LIB(6)), Fails())
    x = torch.randn(9, 2, 6, dtype=torch.float64)
    tt.scan(net[0], x)
    before = net[0].save_states()
    with pytest.raises(RuntimeError, match=r"^no$"):
        tt.scan(net, x, check=False)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net[0].save_states().values(), strict=True))
    with pytest.raises(ValueError, match="expected num_neurons=6"):
        net[0](torch.randn(2, 5, dtype=torch.float64))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net[0].save_states().values(), strict=True))


def test_copies_and_pickles():
    layer = feedback(tt.snn.LIB(6))
    x = torch.randn(9, 2, 6, dtype=torch.float64)
    tt.scan(layer, x[:5])
    twins = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    twins.append(torch.load(buffer, weights_only=False))
    want = tt.scan(layer, x[5:])
    for twin in twins:
        assert torch.equal(tt.scan(twin, x[5:]), want)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(backend, dtype):
    """What is fed back is the output before it is rounded to the dtype of x, in stepping and scanning alike."""
    layer = feedback(tt.snn.LIB(20), dtype=torch.float32)
    half = copy.deepcopy(layer).to(dtype)
    x = torch.randn(9, 3, 20).to(dtype)
    exact = copy.deepcopy(half).float()
    want = tt.scan(exact, x.float(), backend=backend).to(dtype)
    assert torch.equal(tt.scan(half, x, backend=backend), want)
    assert half.fed.dtype == torch.float32
    half.zero_states()
    with tt.backend(backend):
        assert torch.equal(torch.stack([half(x_t) for x_t in x]), want)


def test_autocast_changes_the_output_alone(backend):
    layer = feedback(tt.snn.LIB(20), dtype=torch.float32)
    x = torch.randn(9, 3, 20)
    want = tt.scan(layer, x, backend=backend)
    layer.zero_states()
    with torch.autocast("cpu", torch.bfloat16):
        got = tt.scan(layer, x, backend=backend)
        half = tt.scan(copy.deepcopy(layer).float(), x.bfloat16(), backend=backend)
    assert torch.equal(got, want)
    assert half.dtype == torch.bfloat16


@pytest.mark.parametrize("how", ["scan", "step"])
def test_shapes_alone_on_meta(how):
    layer = feedback(tt.snn.LIB(20), dtype=torch.float32).to("meta")
    x = torch.empty(5, 3, 20, device="meta")
    y = tt.scan(layer, x) if how == "scan" else layer(x[0])
    assert y.is_meta and y.shape == (x if how == "scan" else x[0]).shape


def test_ttcompile_reaches_the_neuron():
    layer = feedback(tt.snn.LIB(6))
    x = torch.randn(9, 2, 6, dtype=torch.float64)
    want = tt.scan(layer, x)
    for module in (layer, nn.Sequential(layer)):
        tt.TTcompile(module)
        layer.zero_states()
        assert "beta" in dict(layer.neuron.named_buffers())
        assert_close(tt.scan(layer, x), want)
        tt.TTdecompile(module)
        assert "raw_beta" in dict(layer.neuron.named_parameters())


@pytest.fixture
def unwarned():
    """What has been warned of once is forgotten."""
    before = set(plan._warned)
    plan._warned.clear()
    yield
    plan._warned.update(before)


class Around(nn.Module):
    """Counts how often it is called."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x


def test_another_path_is_stepped_alone_with_one_warning(unwarned):
    net = nn.Sequential(Around(), tt.Feedback(tt.snn.LIB(4, dim=-3), nn.Conv2d(4, 4, 3, padding=1)), Around()).double()
    x = torch.randn(7, 2, 4, 5, 5, dtype=torch.float64)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        y = tt.scan(net, x, check=False)
        tt.zero_states(net)
        assert torch.equal(tt.scan(net, x, check=False), y)
    (warning,) = said
    assert "Feedback is scanned step by step in Python: its path is Conv2d, and only nn.Linear" in str(warning.message)
    assert net[0].calls == net[2].calls == 2
    fed, ys = torch.zeros_like(x[0]), []
    neuron = net[1].neuron
    neuron.zero_states()
    for x_t in x:
        fed = neuron(x_t + net[1].path(fed))
        ys.append(fed)
    assert_close(y, torch.stack(ys))


@pytest.mark.filterwarnings("ignore:Feedback is scanned step by step")
def test_a_path_with_states_of_its_own(backend):
    path = nn.Sequential(nn.Linear(6, 6), tt.snn.LI(6))
    layer = tt.Feedback(tt.snn.LIB(6), path).double()
    x = torch.randn(9, 2, 6, dtype=torch.float64)
    y = tt.scan(layer, x, lengths=[9, 4], backend=backend)
    saved = layer.save_states()
    assert list(saved) == ["fed", "neuron.mem", "path.1.mem"]
    layer.zero_states()
    assert_close(torch.stack([layer(x_t) for x_t in x])[:, 0], y[:, 0])
    layer.zero_states()
    for x_t in x[:4]:
        layer(x_t)
    assert_close(saved["path.1.mem"][1], path[1].mem[1])
    with pytest.raises(RuntimeError, match="the path holds layers with states, which a pure step can't carry"):
        layer.step(x[0])


def test_hooks_on_the_path_are_called(unwarned):
    layer, seen = feedback(tt.snn.LIB(6)), []
    layer.path.register_forward_hook(lambda module, args, y: seen.append(y))
    x = torch.randn(9, 2, 6, dtype=torch.float64)
    with pytest.warns(UserWarning, match="its Linear has hooks, which are called at every step"):
        y = tt.scan(layer, x)
    assert len(seen) == 9
    layer.zero_states()
    assert_close(y, reference(layer, x))


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")       # torch says so of the first step's zeros
@pytest.mark.parametrize("what", ["neuron", "path"])
def test_backward_hooks_are_called(unwarned, what):
    layer, seen = feedback(tt.snn.LIB(6)), []
    getattr(layer, what).register_full_backward_hook(lambda module, into, out: seen.append(1))
    x = torch.randn(9, 2, 6, dtype=torch.float64, requires_grad=True)
    with pytest.warns(UserWarning, match="has hooks, which are called at every step"):
        tt.scan(layer, x).sum().backward()
    assert len(seen) == 9


def test_a_hand_written_neuron(unwarned):
    class Mine(tt.snn.Layer):
        def __init__(self):
            super().__init__(6)
            self._initialize_state("mem")

        def forward(self, x):
            self._ensure_states(x)
            self.mem = 0.5 * self.mem + x
            return self.mem

    layer = tt.Feedback(Mine(), nn.Linear(6, 6))
    x = torch.randn(9, 2, 6)
    with pytest.warns(UserWarning, match="its neuron, Mine, has a forward of its own"):
        y, recorded = tt.scan(layer, x, record="mem")
    assert_close(recorded["mem"], y)
    mem, ys = torch.zeros(2, 6), []
    for x_t in x:
        mem = 0.5 * mem + x_t + layer.path(mem)
        ys.append(mem)
    assert_close(y, torch.stack(ys))
    with pytest.raises(TypeError, match="Mine has no step; call the layer itself"):
        layer.step(x[0])


@pytest.mark.parametrize(("make", "error", "words"), [
    (lambda: tt.Feedback(nn.ReLU(), nn.Linear(3, 3)), TypeError, "neuron must be a tracetorch layer, got ReLU"),
    (lambda: tt.Feedback(tt.snn.LIB, nn.Linear(3, 3)), TypeError, "neuron must be a tracetorch layer, got NeuronType"),
    (lambda: tt.Feedback(tt.snn.LIB(3), torch.eye(3)), TypeError, "path must be a module, got Tensor"),
    (lambda: tt.Feedback(tt.snn.LIB(3), nn.Linear(3, 4)), ValueError,
     r"path is nn.Linear\(3, 4\), but LIB has 3 neurons; write nn.Linear\(3, 3\)"),
    (lambda: tt.Feedback(tt.snn.LIB(3), nn.LazyLinear(3)), TypeError,
     r"path is an nn.LazyLinear, which knows no size yet; write nn.Linear\(3, 3\)"),
    (lambda: tt.Feedback(tt.Feedback(tt.snn.LIB(3), nn.Linear(3, 3)), nn.Linear(3, 3)), TypeError,
     "Feedback has a state 'fed' of its own; join both paths in one"),
])
def test_refuses_to_be_made(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_refuses_neurons_that_do_not_lie_last():
    layer = tt.Feedback(tt.snn.LIB(4, dim=1), nn.Linear(4, 4))
    tt.scan(layer, torch.randn(3, 2, 4))
    layer.zero_states()
    with pytest.raises(ValueError, match=r"nn.Linear acts along the last dimension, but the neurons lie along dim=1"):
        tt.scan(layer, torch.randn(3, 2, 4, 4))


def test_refuses_a_path_of_another_shape():
    layer = tt.Feedback(tt.snn.LIB(4), nn.Sequential(nn.Linear(4, 5)))
    with pytest.raises(ValueError, match=r"the path gives \[2, 5\] for an output \[2, 4\]"):
        layer(torch.randn(2, 4))
    layer = tt.Feedback(tt.snn.LIB(4), nn.Linear(4, 4))
    layer.path.weight = nn.Parameter(torch.randn(4, 5))
    with pytest.raises(ValueError, match=r"the weight of the path has shape \[4, 5\]; it must have \[4, 4\]"):
        layer(torch.randn(2, 4))
    assert layer.fed is None and layer.neuron.mem is None


def test_second_derivatives_are_refused():
    layer = feedback(tt.snn.LIB(6))
    x = torch.randn(4, 2, 6, dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(tt.scan(layer, x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="a fused scan can be differentiated once"):
        g.sum().backward()


def test_explain_says_how_it_runs():
    net = nn.Sequential(feedback(tt.snn.LIB(6)), tt.Feedback(tt.snn.LIB(6), nn.Sequential(nn.Linear(6, 6))))
    native, stepped = tt.explain(net).layers
    assert (native.path, native.name, native.backend) == ("0", "Feedback", "cpp")
    assert '#include "feedback_forward.h"' in native.source and native.operators[1] > 0
    assert stepped.backend == "eager" and "its path is Sequential" in stepped.why_not["cpp"]

"""Recordings of states and shared names over time."""

import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import assert_close, inputs
from tracetorch import snn

X = inputs(6, 2, 3)


def by_hand(layer, x, names):
    """The recordings of one layer, from the reference step."""
    states = {name: torch.full(x.shape[1:], s.init, dtype=x.dtype) for name, s in layer.pipeline.states.items()}
    found = {name: [] for name in names}
    for x_t in x:
        _, states, values = layer.bound_step()(x_t, states, layer.constrained(), tuple(names))
        for name in names:
            found[name].append(values[name])
    return {name: torch.stack(values) for name, values in found.items()}


def test_record_of_a_layer(backend):
    layer = snn.DSRLITS(3, pos_rec_weight=0.5).double()
    names = ("pos_mem", "neg_mem", "potential", "spike", "output", "prev_output", "x", "pos_drive", "shift")
    with tt.backend(backend):
        y, recordings = tt.scan(layer, X, record=names)
    assert set(recordings) == set(names)
    assert_close({name: recordings[name] for name in names}, by_hand(layer, X, names))
    assert_close(recordings["output"], y)
    assert_close(recordings["pos_mem"][-1], layer.pos_mem)


def test_record_is_differentiable(backend):
    grads = []
    for trace in (True, False):
        layer, x = snn.SLIB(3).double(), X.clone().requires_grad_()
        with tt.backend(backend):
            if trace:
                mem = tt.scan(layer, x, record="mem")[1]["mem"]
            else:
                mem = torch.stack([layer(x_t) * 0 + layer.mem for x_t in x])
        mem.square().sum().backward()
        grads.append([x.grad, *(p.grad for p in layer.parameters())])
    assert_close(grads[0], grads[1])


def test_record_in_a_module_applies_to_all_or_to_one(backend):
    module = nn.Sequential(snn.SLI(3), nn.Linear(3, 3), snn.LIB(3)).double()
    with tt.backend(backend):
        _, recordings = tt.scan(module, X, record=("mem", "0.syn", "spike"))
    assert set(recordings) == {"0.mem", "0.syn", "2.mem", "2.spike"}
    assert all(one.shape == X.shape for one in recordings.values())
    assert_close(recordings["2.mem"][-1], module[2].mem)
    tt.zero_states(module)
    _, again = tt.scan(module, X, record=["0.syn", "mem"], fold=False)
    assert_close(again, {name: recordings[name] for name in again})
    assert set(again) == {"0.mem", "0.syn", "2.mem"}


def test_record_of_a_layer_inside_a_hand_written_one():
    class Outer(tt.snn.Layer):
        def __init__(self):
            super().__init__(3)
            self._initialize_state("total")
            self.inner = snn.LI(3)

        def forward(self, x):
            self._ensure_states(x)
            self.total = self.total + self.inner(x)
            return self.total

    module = nn.Sequential(Outer()).double()
    y, recordings = tt.scan(module, X, record=("total", "mem"))
    assert set(recordings) == {"0.total", "0.inner.mem"}
    assert_close(recordings["0.total"], y)
    assert_close(recordings["0.inner.mem"].cumsum(0), y)


def test_without_record_only_the_output_comes_back():
    assert isinstance(tt.scan(snn.LI(3).double(), X), torch.Tensor)
    assert isinstance(tt.scan(snn.LI(3).double(), X, record=()), torch.Tensor)

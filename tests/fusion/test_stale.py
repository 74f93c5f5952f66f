"""What a kernel was made from changes between two scans: the next scan computes what eager computes."""

import gc
import importlib
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import assert_close, inputs, outcome
from tests.support.rounding import check_rounds_as_eager, output
from tests.support.stale import CASES, modules, neuron, objects, shape, stages, values  # noqa: F401
from tests.support.stale.modules import CONFIG

X = inputs(6, 2, 4, seed=3)


def ran(layer, backend, stepped=False):
    """The outcome of a scan or of stepping."""
    def run(x):
        with warnings.catch_warnings(), tt.backend(backend):
            warnings.simplefilter("ignore")
            return torch.stack([layer(x_t) for x_t in x]) if stepped else tt.scan(layer, x)
    return outcome(layer, run, X)


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("stepped", [False, True], ids=["scanned", "stepped"])
@pytest.mark.parametrize("name", CASES)
def test_the_next_scan_sees_the_change(name, stepped):
    layer, change = CASES[name]()
    before = ran(layer, "auto", stepped)
    change()
    after = ran(layer, "auto", stepped)
    if name.startswith("counter_of_calls"):
        change()
    want = ran(layer, "eager", stepped)
    assert_close(after, want)
    different = any(not torch.equal(a, b) for a, b in zip(before, want, strict=True))
    assert different != name.startswith("counter_of_calls")     # eager sees the change; a count begins anew


CONSTANT = "k = {}\nimport torch\ndef fire(v):\n    return torch.tanh(k * v)\n"


def test_a_reloaded_module(tmp_path, monkeypatch):
    path = tmp_path / "reloaded_spikes.py"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path.write_text(CONSTANT.format(1.0))
    module = importlib.import_module("reloaded_spikes")
    layer = neuron(lambda v: module.fire(v))
    before = ran(layer, "auto")
    path.write_text(CONSTANT.format(3.25))
    importlib.reload(module)
    after = ran(layer, "auto")
    assert not torch.equal(before[0], after[0])
    assert_close(after, ran(layer, "eager"))


def test_a_global_hook_of_all_modules():
    layer = neuron(nn.Tanh())
    before = ran(layer, "auto")
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, out: 0.3 * out if isinstance(module, nn.Tanh) else None)
    try:
        after, want = ran(layer, "auto"), ran(layer, "eager")
    finally:
        handle.remove()
    assert not torch.equal(before[0], after[0])
    assert_close(after, want)


def test_what_is_not_understood_runs_in_eager_and_says_why():
    class Table(dict):
        pass
    held = Table(k=1.0)
    layer = tt.snn.LIB(4, spike_fn=lambda v: torch.tanh(held["k"] * v))
    reason = r"spike_fn: `held` of its closure: \{'k': 1.0\} is of type .*Table, whose value can't be read"
    with pytest.warns(UserWarning, match="LIB is scanned step by step in Python: " + reason) as caught:
        tt.scan(layer, torch.ones(2, 1, 4))
    assert caught[0].filename == __file__       # where it was called from, not a line of the library
    (found,) = tt.explain(layer).layers
    assert found.backend == "eager" and "whose value can't be read" in found.why_not["cpp"]
    with pytest.raises(RuntimeError, match="backend='cpp' can't run LIB: " + reason):
        tt.scan(layer, torch.ones(2, 1, 4), backend="cpp")


IMPURE = {
    "time": lambda v: v * __import__("time").time(), "print": lambda v: print("") or v,
    "numpy's random numbers": lambda v: v * np.random.rand(), "torch's seed": lambda v: v * torch.initial_seed(),
}


@pytest.mark.parametrize("name", IMPURE)
def test_what_changes_unseen_is_refused(name):
    with pytest.raises(RuntimeError, match="can't run LIB: "):
        tt.scan(tt.snn.LIB(4, spike_fn=IMPURE[name]), torch.ones(2, 1, 4), backend="cpp")


def test_under_compile_the_next_scan_sees_the_change():
    CONFIG.k = 1.0
    layer = tt.snn.LIB(4, spike_fn=lambda v: shape(v, CONFIG.k))
    compiled = torch.compile(lambda x: tt.scan(layer, x), backend="eager", fullgraph=True)
    x = torch.randn(5, 2, 4)
    found = []
    for CONFIG.k in (1.0, 3.0):
        check_rounds_as_eager(layer, compiled, x, output)
        found += output(layer, compiled, x)
    torch._dynamo.reset()
    assert not torch.equal(*found)


def test_redefinitions_do_not_pile_up():
    """Cells run again and slopes annealed in closures: what they made is forgotten."""
    from tracetorch.fusion import cache

    x = torch.ones(2, 1, 4)
    for i in range(cache.LIMIT + 40):
        class Scaled(tt.Stage):
            place = "drive"
            factor = 1.0 + i

            def step(self, s):
                s.drive = s.drive * self.factor
        step, call = tt.compose(Scaled, tt.Binary, name="Redefined")(4).step_and_call(torch.float32, x.device)
        cache.captured(step, call.dtype)
    assert len(cache._known) <= cache.LIMIT
    gc.collect()
    classes = sys.modules["tracetorch.layers.compose"]._classes
    assert sum(cls.__name__ == "Redefined" for cls in classes.values()) <= 2

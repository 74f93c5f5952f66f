"""Every error of stepping, scanning and handling states; whatever fails leaves the states as they were."""

import pytest
import torch
import torch.utils.checkpoint
from torch import nn

import tracetorch as tt
from tests.stages.own.noise import Noise
from tests.support.messages import fails
from tracetorch import snn

ZEROS = torch.zeros(2, 3)


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = snn.LI(3)

    def forward(self, x):
        return tt.scan(self.layer, x)


INPUT = {
    "not a tensor": (lambda run, layer: run(layer, [[0.0] * 3]), TypeError, ["must be a tensor", "list"]),
    "whole numbers": (lambda run, layer: run(layer, torch.zeros(2, 3, dtype=torch.int64)), TypeError,
                      ["LIB: the input must be floating-point", "torch.int64", "x.float()"]),
    "bools": (lambda run, layer: run(layer, torch.zeros(2, 3, dtype=torch.bool)), TypeError, ["LIB", "torch.bool"]),
    "complex": (lambda run, layer: run(layer, torch.zeros(2, 3, dtype=torch.complex64)), TypeError,
                ["LIB", "torch.complex64"]),
    "another number of neurons": (lambda run, layer: run(layer, torch.zeros(2, 4)), ValueError,
                                  ["LIB", "4 elements along dim=-1", "[2, 4]", "num_neurons=3"]),
    "another batch": (lambda run, layer: run(layer, torch.zeros(5, 3)), ValueError,
                      ["LIB: state 'mem' holds shape [2, 3]", "[5, 3]", "zero_states()"]),
    "another number of dimensions": (lambda run, layer: run(layer, torch.zeros(1, 2, 3)), ValueError,
                                     ["LIB: state 'mem' holds shape [2, 3]", "[1, 2, 3]", "zero_states()"]),
    "another device": (lambda run, layer: run(layer, torch.zeros(2, 3, device="meta")), ValueError,
                       ["LIB: state 'mem' is on cpu", "meta", ".to('meta')", "zero_states()"]),
    "no dimension": (lambda run, layer: run(layer, torch.zeros(())), ValueError,
                     ["LIB: dim=-1 is out of range", "0 dimensions"]),
}
RUNS = {"step": lambda layer, x: layer(x), "pure step": lambda layer, x: layer.step(x, layer.carried_states()),
        "scan": lambda layer, x: tt.scan(layer, x[None] if isinstance(x, torch.Tensor) else x)}


def used(cls=snn.LIB, **options):
    layer = cls(3, **options)
    layer(torch.ones(2, 3))
    return layer


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("case", INPUT)
def test_input_errors_leave_the_states_alone(case, run):
    call, kind, says = INPUT[case]
    layer = used()
    before = layer.mem
    if (case, run) == ("not a tensor", "pure step"):
        kind = TypeError
    with fails(kind, *says):
        call(RUNS[run], layer)
    assert layer.mem is before and torch.isfinite(before).all()
    layer(torch.ones(2, 3))


@pytest.mark.parametrize("dim, allowed", [(2, "-2 to 1"), (-3, "-2 to 1")])
def test_dim_out_of_range(dim, allowed):
    layer = snn.LIB(3, dim=dim)
    with fails(ValueError, f"LIB: dim={dim} is out of range", "2 dimensions", f"allowed are {allowed}"):
        layer(ZEROS)
    with fails(ValueError, f"dim={dim}", allowed):
        tt.scan(layer, ZEROS[None])
    assert layer.mem is None


def test_unknown_states_of_a_pure_step():
    with fails(ValueError, "LIB: no state is called 'pos_mem'", "mem"):
        snn.LIB(3).step(ZEROS, {"pos_mem": ZEROS})


SCAN = {
    "no module": (lambda model: tt.scan(torch.relu, ZEROS[None]), TypeError, ["tt.scan", "torch.nn.Module"]),
    "no tensor": (lambda model: tt.scan(model, [0.0]), TypeError, ["tt.scan", "must be a tensor", "list"]),
    "no batch": (lambda model: tt.scan(model, torch.zeros(3)), ValueError,
                 ["tt.scan: Sequential", "[T, B, ...]", "got [3]"]),
    "no time": (lambda model: tt.scan(model[0], torch.tensor(0.0)), ValueError, ["tt.scan: LI", "[T, ...]", "got []"]),
    "time_dim out of range": (lambda model: tt.scan(model, ZEROS[None], time_dim=3), ValueError,
                              ["time_dim=3 is out of range", "[1, 2, 3]"]),
    "time of length 0": (lambda model: tt.scan(model, torch.zeros(0, 2, 3)), ValueError,
                         ["time has length 0", "[0, 2, 3]", "time_dim=0"]),
    "time of length 0, layer": (lambda model: tt.scan(model[0], torch.zeros(2, 0, 3), time_dim=1), ValueError,
                                ["time has length 0", "[2, 0, 3]", "time_dim=1"]),
    "unknown backend": (lambda model: tt.scan(model, ZEROS[None], backend="cuda"), ValueError,
                        ["backend='cuda'", "'auto', 'eager', 'cpp', 'triton'"]),
    "record of nothing": (lambda model: tt.scan(model, ZEROS[None], record=("voltage",)), ValueError,
                          ["nothing called 'voltage' to record", "mem", "1.potential"]),
    "record of another layer": (lambda model: tt.scan(model, ZEROS[None], record="0.spike"), ValueError,
                                ["'0.spike'", "1.spike"]),
    "a second layer of another size": (
        lambda model: tt.scan(nn.Sequential(model[0], snn.LIB(4)), torch.ones(5, 2, 3)), ValueError,
        ["LIB", "3 elements along dim=-1", "num_neurons=4"]),
    "batch and neurons swapped": (
        lambda model: tt.scan(nn.Sequential(model[0], nn.Flatten(0), model[1]), torch.ones(5, 2, 3)), ValueError,
        ["LIB '2'", "[30]", "T*B = 5*2", "fold=False"]),
    "an output without its batch": (
        lambda model: tt.scan(nn.Sequential(*model, nn.Flatten(0)), torch.ones(5, 2, 3)), ValueError,
        ["Sequential returned shape [30]", "T*B = 5*2", "fold=False"]),
    "a layer used twice": (
        lambda model: tt.scan(nn.Sequential(model[0], model[1], model[0]), torch.ones(5, 2, 3)), RuntimeError,
        ["LI '0' is called twice", "two layers", "fold=False"]),
    "a scan inside": (lambda model: tt.scan(nn.Sequential(model[0], Nested()), torch.ones(5, 2, 3)), RuntimeError,
                      ["tt.scan was called inside", "call the layer itself"]),
    "an error in plain PyTorch": (lambda model: tt.scan(nn.Sequential(model[0], nn.Linear(5, 5)), torch.ones(5, 2, 3)),
                                  RuntimeError, []),
    "time_dim beyond the output": (
        lambda model: tt.scan(nn.Sequential(model[0], nn.Flatten()), torch.ones(2, 4, 3, 5), time_dim=3), ValueError,
        ["Sequential", "time_dim=3", "negative"]),
}


def states_of(model):
    return [getattr(layer, name) for _, layer in tt.layers.model.named_layers(model) for name in layer.state_names]


@pytest.mark.parametrize("fresh", [True, False], ids=["first use", "in use"])
@pytest.mark.parametrize("case", SCAN)
def test_scan_errors_leave_the_states_alone(case, fresh):
    call, kind, says = SCAN[case]
    model = nn.Sequential(snn.LI(3), snn.LIB(3))
    if not fresh and case != "time_dim beyond the output":
        model(ZEROS + 1)
    before = states_of(model)
    with fails(kind, *says):
        call(model)
    assert all(a is b for a, b in zip(states_of(model), before, strict=True))


class HandWritten(tt.snn.Layer):
    """Fails at the third step, after it has changed its state, and that of a layer inside."""

    def __init__(self, inner=None):
        super().__init__(3)
        self._initialize_state("mem")
        self.inner, self.calls = inner, 0

    def forward(self, x):
        self._ensure_states(x)
        self.mem = self.mem + x
        if self.inner is not None:
            x = self.inner(x)
        self.calls += 1
        if self.calls == 3:
            raise KeyError("third step")
        return x * x


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("inner", [False, True], ids=["alone", "with a layer inside"])
@pytest.mark.parametrize("fresh", [True, False], ids=["first use", "in use"])
def test_a_hand_written_layer_that_fails_half_way(fold, inner, fresh):
    for wrap in (lambda last: nn.Sequential(snn.LI(3), last), lambda last: last):
        model = wrap(HandWritten(snn.LIB(3) if inner else None))
        if not fresh:
            model(ZEROS + 1)
        before = states_of(model)
        with pytest.raises(KeyError, match="third step"):
            tt.scan(model, torch.ones(5, 2, 3), fold=fold)
        assert all(a is b for a, b in zip(states_of(model), before, strict=True))


def test_after_a_failed_scan_stepping_goes_on():
    """The scan that failed must not leave time folded."""
    model = nn.Sequential(snn.LI(3), snn.LIB(4))
    with pytest.raises(ValueError):
        tt.scan(model, torch.ones(5, 2, 3))
    assert model[0](ZEROS).shape == (2, 3) and model[0].mem.shape == (2, 3)


class Feedback(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.last = snn.LI(3), 0.0

    def forward(self, x):
        y = self.layer(x) + self.last
        self.last = y.mean(0, keepdim=True)
        return y


def test_check_finds_what_can_not_be_folded():
    x = torch.randn(5, 2, 3)
    for module in (Feedback(), nn.Sequential(snn.LI(3), nn.BatchNorm1d(3))):
        with fails(ValueError, "check=True", "folding differs from stepping by up to", type(module).__name__,
                   "fold=False"):
            tt.scan(module, x, check=True)
        assert all(s is None for s in states_of(module))
        tt.scan(module, x, check=True, fold=False)


def test_check_can_not_compare_what_differs_from_run_to_run():
    class Restless(nn.Module):
        calls = 0

        def forward(self, x):
            Restless.calls += 1
            return x + Restless.calls

    with fails(ValueError, "check=True", "two results"):
        tt.scan(Restless(), torch.zeros(3, 2, 3), check=True)


def test_record_of_what_a_stepped_layer_does_not_keep():
    class Own(snn.LIB):
        def forward(self, x):
            return super().forward(x)

    with fails(ValueError, "'potential' can't be recorded", "Own is stepped", "mem"):
        tt.scan(Own(3), torch.ones(4, 2, 3), record="potential")


def test_backends():
    with fails(ValueError, "backend='numpy'", "'auto', 'eager', 'cpp', 'triton'"):
        tt.backend("numpy")


@pytest.mark.parametrize("verb", ["zero_states", "detach_states", "save_states", "TTcompile", "TTdecompile"])
def test_state_functions_want_a_module(verb):
    with fails(TypeError, "torch.nn.Module", "list"):
        getattr(tt, verb)([snn.LIB(3)])


def loads(states, strict=True):
    model = nn.Sequential(used(), used(snn.SLIB))
    before = states_of(model)
    return model, before, lambda: tt.load_states(model, states(tt.save_states(model)), strict=strict)


LOAD = {
    "missing and unknown names are all listed": (
        lambda saved: {"0.mem": saved["0.mem"], "1.volt": ZEROS, "2.mem": ZEROS}, True, ValueError,
        ["missing 1.syn", "missing 1.mem", "unknown 1.volt", "unknown 2.mem", "Nothing was loaded", "strict=False"]),
    "another batch": (lambda saved: {**saved, "1.syn": torch.zeros(5, 3), "0.mem": torch.zeros(4, 3)}, True, ValueError,
                      ["1.syn has shape [5, 3], the layer's has [2, 3]", "0.mem has shape [4, 3]", "zero_states()"]),
    "another batch, not strict": (lambda saved: {"1.syn": torch.zeros(5, 3)}, False, ValueError, ["1.syn", "[5, 3]"]),
    "no tensor": (lambda saved: {**saved, "1.syn": [0.0]}, True, TypeError, ["1.syn must be a tensor", "list"]),
    "no random numbers": (lambda saved: {**saved, "0.rng": torch.zeros(3)}, True, ValueError,
                          ["0.rng must have shape [2]", "[3]"]),
}


@pytest.mark.parametrize("case", LOAD)
def test_a_failed_load_changes_nothing(case):
    states, strict, kind, says = LOAD[case]
    model, before, load = loads(states, strict)
    with fails(kind, "load_states", *says):
        load()
    assert all(a is b for a, b in zip(states_of(model), before, strict=True))


@pytest.mark.parametrize("shape, got", [((2, 4), "[2, 4]"), ((), "[]")])
def test_load_into_a_fresh_layer_checks_the_number_of_neurons(shape, got):
    layer = snn.LIB(3)
    with fails(ValueError, f"mem has shape {got}", "expected 3 along dim=-1"):
        layer.load_states({"mem": torch.zeros(shape)})
    assert layer.mem is None


def test_hidden_layers_draw_a_warning():
    class Hidden(tt.Model):
        def __init__(self, kind):
            super().__init__()
            self.layers = kind

    for kind, says in (([snn.LIB(3)], "nn.ModuleList"), ((snn.LIB(3),), "nn.ModuleList"),
                       ({"a": snn.LIB(3)}, "nn.ModuleDict")):
        with pytest.warns(UserWarning, match=rf"Hidden.layers holds layers in a plain {type(kind).__name__}.*{says}"):
            model = Hidden(kind)
        with pytest.warns(UserWarning, match="Hidden.layers"):
            model.zero_states()
        assert not list(model.parameters())     # of which it warns


def test_a_layer_appended_later_draws_a_warning():
    class Grown(tt.Model):
        def __init__(self):
            super().__init__()
            self.layers = []

    model = Grown()
    model.layers.append(snn.LIB(3))
    with pytest.warns(UserWarning, match="nn.ModuleList"):
        tt.zero_states(model)


def test_other_containers_draw_none():
    class Fine(tt.Model):
        def __init__(self):
            super().__init__()
            self.sizes, self.layers = [3, 4], nn.ModuleList([snn.LIB(3)])
            self.linears, self.again = [nn.Linear(3, 3)], [self.layers[0]]

    Fine().zero_states()


def stepping(module, x):
    return module(x)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("make", [lambda: snn.LIB(3), lambda: HandWritten(), lambda: nn.Sequential(snn.LIB(3))],
                         ids=["layer", "hand-written", "module"])
@pytest.mark.parametrize("run", [stepping, lambda m, x: tt.scan(m, x[None])], ids=["stepped", "scanned"])
def test_a_checkpoint_around_a_layer_with_states(make, run, reentrant):
    module, x = make(), torch.ones(2, 3, requires_grad=True)
    y = torch.utils.checkpoint.checkpoint(run, module, x, use_reentrant=reentrant)
    before = states_of(module)
    with fails(RuntimeError, "backward", "checkpoint", "layer.step", "tt.scan"):
        y.sum().backward()
    assert all(a is b for a, b in zip(states_of(module), before, strict=True))


def test_a_checkpoint_around_pure_steps():
    layer, x = snn.LIB(3), torch.ones(2, 3, requires_grad=True)

    def two(x):
        y, states = layer.step(x)
        return layer.step(y + x, states)[0]

    y = torch.utils.checkpoint.checkpoint(two, x, use_reentrant=False)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    (want,) = torch.autograd.grad(two(x).sum(), x)
    assert torch.equal(gradient, want)


def test_random_numbers_stay_as_they_were_after_an_error():
    layer = tt.compose(tt.Binary, Noise)(3)
    layer(ZEROS)
    before = layer.rng.clone()
    with pytest.raises(ValueError):
        tt.scan(nn.Sequential(layer, snn.LI(4)), torch.zeros(6, 2, 3))
    assert torch.equal(layer.rng, before)

"""Every error of the core: its type, and that it says where, what was got, and what to write instead."""

import re

import pytest
import torch
import torch.utils.checkpoint
from torch import nn

import tracetorch as tt
from tests.compositions import HARD
from tests.traits.graded import Graded
from tests.traits.inhibition import Inhibition
from tests.traits.noise import Noise
from tests.traits.resonant import Resonant
from tracetorch import snn

ZEROS = torch.zeros(2, 3)


def fails(kind, *says):
    """The call must raise `kind` (exactly) with a message that has all of `says` in it."""
    class Check:
        def __enter__(self):
            self.context = pytest.raises(kind)
            self.info = self.context.__enter__()

        def __exit__(self, *exc):
            assert self.context.__exit__(*exc)
            assert self.info.type is kind
            message = str(self.info.value)
            for text in says:
                assert text in message, message
            assert "{" not in message and not re.search(r"0x[0-9a-f]{6}", message), message
            return True
    return Check()


def stage(name="Odd", **attributes):
    """A stage class from its attributes."""
    return type(name, (tt.Stage,), attributes)


# -- compose ---------------------------------------------------------------------------

COMPOSE = {
    "no stage": (lambda: tt.compose("Dual"), TypeError, ["tt.Dual", "'Dual'"]),
    "a layer": (lambda: tt.compose(snn.LIB), TypeError, ["tt.compose takes stages", "LIB"]),
    "twice": (lambda: tt.compose(tt.Dual, tt.Dual()), ValueError, ["Dual is named twice", "name it once"]),
    "twice, configured": (lambda: tt.compose(tt.Binary, tt.Refractory(1), tt.Refractory(2)), ValueError,
                          ["Refractory is named twice"]),
    "binary and ternary": (lambda: tt.compose(tt.Binary, tt.Ternary), ValueError,
                           ["Binary and Ternary exclude each other", "name one"]),
    "binary and graded": (lambda: tt.compose(tt.Binary, Graded), ValueError, ["Binary and Graded exclude"]),
    "two membranes": (lambda: tt.compose(tt.EMA, Resonant), ValueError, ["EMA and Resonant exclude", "'membrane'"]),
    "two resets": (lambda: tt.compose(tt.Binary, tt.Reset, tt.Reset("zero")), ValueError, ["Reset is named twice"]),
    "adaptive without firing": (lambda: tt.compose(tt.Adaptive), ValueError,
                                ["Adaptive can't run", "`s.spike`", "tt.Binary or tt.Ternary"]),
    "refractory without firing": (lambda: tt.compose(tt.Refractory), ValueError,
                                  ["Refractory can't run", "tt.Binary or tt.Ternary"]),
    "reset without firing": (lambda: tt.compose(tt.Reset("none")), ValueError,
                             ["Reset(detach=False, mode='none') needs spikes", "add tt.Binary or tt.Ternary"]),
    "a user's trait without firing": (lambda: tt.compose(Inhibition), ValueError, ["Inhibition can't run", "s.spike"]),
    "a name nobody has": (lambda: tt.compose(stage(step=lambda self, s: setattr(s, "x", s.nothing))), ValueError,
                          ["`s.nothing` does not exist", "potential", "beta"]),
    "drive too early": (lambda: tt.compose(stage(place="input", step=lambda self, s: s.drive)), ValueError,
                        ["`s.drive` does not exist", 'place = "drive"']),
    "potential too early": (lambda: tt.compose(stage(place="drive", step=lambda self, s: s.potential)), ValueError,
                            ["`s.potential` does not exist", "'threshold' or later"]),
    "output of a neuron that does not fire": (
        lambda: tt.compose(stage(place="output", step=lambda self, s: s.fire(s.x))), ValueError,
        ["`s.fire` does not exist", "tt.Binary"]),
    "previous output": (lambda: tt.compose(stage(step=lambda self, s: s.prev_output)), ValueError,
                        ["`s.prev_output`", "tt.Recurrent"]),
    "one threshold of two": (lambda: tt.compose(tt.Ternary, stage(place="gate", step=lambda self, s: s.threshold)),
                             ValueError, ["`s.threshold` is a pair here", "pos_threshold, neg_threshold", "s.sides"]),
    "one membrane of two": (lambda: tt.compose(tt.Dual, stage(step=lambda self, s: s.mem)), ValueError,
                            ["`s.mem` is a pair here", "for b in s.branches: b.mem"]),
    "writing one of two": (lambda: tt.compose(tt.Dual, stage(step=lambda self, s: setattr(s, "mem", s.x))), ValueError,
                           ["`s.mem` is a pair here", "for b in s.branches"]),
    "a state's name is taken": (lambda: tt.compose(stage(mem=tt.State())), ValueError,
                                ["Odd: the name 'mem' is already taken", "rename"]),
    "a shared name is taken": (lambda: tt.compose(stage(potential=tt.State())), ValueError,
                               ["the name 'potential' is already taken"]),
    "a parameter's name is taken": (lambda: tt.compose(stage(beta=tt.Decay(0.5))), ValueError,
                                    ["'beta' is already taken"]),
    "a name of a pair is taken": (lambda: tt.compose(tt.Dual, stage(mem=tt.State())), ValueError,
                                  ["'mem' is already taken"]),
    "no name for a class": (lambda: tt.compose(tt.Binary, name="my neuron"), ValueError,
                            ["'my neuron' can't name a class", "name="]),
    "a keyword": (lambda: tt.compose(tt.Binary, name="class"), ValueError, ["'class' can't name a class"]),
    "a default for nothing": (lambda: tt.compose(tt.Binary, defaults={"alpha": 0.5}), ValueError,
                              ["LIB", "no argument 'alpha'", "threshold"]),
    "a default that is a tensor list": (lambda: tt.compose(tt.Binary, defaults={"beta": [0.5]}), TypeError,
                                        ["plain values", "[0.5]"]),
    "a place nobody knows": (lambda: stage("Odd", place="nowhere"), ValueError,
                             ["Odd.place", "'nowhere'", "threshold", "membrane"]),
    "a mode of reset": (lambda: tt.Reset("half"), ValueError, ["tt.Reset", "'half'", "'subtract', 'zero', 'none'"]),
    "no refractory steps": (lambda: tt.Refractory(0), ValueError, ["tt.Refractory(steps)", "0", "from 1"]),
    "half a refractory step": (lambda: tt.Refractory(1.5), ValueError, ["tt.Refractory(steps)", "1.5", "whole"]),
    "refractory steps that are a bool": (lambda: tt.Refractory(True), ValueError, ["tt.Refractory(steps)", "True"]),
}


@pytest.mark.parametrize("case", COMPOSE)
def test_compose(case):
    call, kind, says = COMPOSE[case]
    with fails(kind, *says):
        call()


def test_a_name_that_another_composition_has():
    tt.compose(stage("Twin", place="input"), tt.Binary)
    other = stage("Twin", place="input")
    other.__module__ = "elsewhere"
    with fails(ValueError, "LIB_Twin is already the name", "Twin()", "name="):
        tt.compose(other, tt.Binary)
    assert tt.compose(other, tt.Binary, name="Elsewhere").__name__ == "Elsewhere"


def test_a_failed_composition_leaves_no_name_behind():
    class Late(tt.Stage):
        def step(self, s):
            s.shift = s.shift + s.spike

    with fails(ValueError, "Late can't run"):
        tt.compose(Late, tt.Binary)
    Late.step = lambda self, s: None
    assert tt.compose(Late, tt.Binary).__name__ == "LIB_Late"


def test_an_error_of_a_trait_is_its_own():
    with pytest.raises(ZeroDivisionError):
        tt.compose(stage(step=lambda self, s: 1 / 0))


# -- constructors ----------------------------------------------------------------------

CONSTRUCT = {
    "no number of neurons": (lambda: snn.LIB(), TypeError, ["LIB", "num_neurons"]),
    "an argument nobody knows": (lambda: snn.LIB(3, alpha=0.5), TypeError, ["LIB", "'alpha'", "it takes num_neurons"]),
    "too many arguments": (lambda: snn.LI(*range(1, 20)), TypeError, ["LI", "too many"]),
    "neurons as a float": (lambda: snn.LIB(3.0), TypeError, ["LIB: num_neurons", "whole number", "3.0"]),
    "neurons as a bool": (lambda: snn.LIB(True), TypeError, ["num_neurons", "True"]),
    "no neurons": (lambda: snn.LIB(0), ValueError, ["LIB: num_neurons must be 1 or more", "0"]),
    "dim as a float": (lambda: snn.LIB(3, dim=1.0), TypeError, ["LIB: dim", "1.0"]),
    "decay 0": (lambda: snn.LIB(3, beta=0.0), ValueError, ["LIB: beta", "between 0 and 1", "0"]),
    "decay 1": (lambda: snn.LIB(3, beta=1), ValueError, ["LIB: beta", "between 0 and 1", "got 1"]),
    "decay above": (lambda: snn.DLIB(3, neg_beta=1.5), ValueError, ["DLIB: neg_beta", "got 1.5", "timesteps_to_decay"]),
    "decay nan": (lambda: snn.LIB(3, beta=float("nan")), ValueError, ["LIB: beta", "got nan"]),
    "one decay of three": (lambda: snn.LIB(3, beta=torch.tensor([0.5, -0.25, 2.0])), ValueError,
                           ["LIB: beta", "got -0.25"]),
    "a decay that rounds to 1": (lambda: snn.LIB(3, beta=torch.tensor(1 - 1e-9)), ValueError, ["LIB: beta", "got 1"]),
    "threshold 0": (lambda: snn.LIB(3, threshold=0.0), ValueError, ["LIB: threshold", "greater than 0", "got 0"]),
    "threshold below": (lambda: snn.LIT(3, neg_threshold=torch.full((3,), -2.5)), ValueError,
                        ["LIT: neg_threshold", "greater than 0", "got -2.5"]),
    "threshold inf": (lambda: snn.LIB(3, threshold=float("inf")), ValueError, ["LIB: threshold", "finite", "got inf"]),
    "bias nan": (lambda: snn.LIB(3, bias=float("nan")), ValueError, ["LIB: bias", "finite", "got nan"]),
    "scale inf": (lambda: snn.LITS(3, pos_scale=float("inf")), ValueError, ["LITS: pos_scale", "finite", "got inf"]),
    "too many values": (lambda: snn.LIB(3, beta=torch.full((4,), 0.5)), ValueError,
                        ["LIB: beta", "[] or [3]", "got [4]"]),
    "values of rank 2": (lambda: snn.LIB(3, beta=torch.full((1, 3), 0.5)), ValueError, ["[] or [3]", "got [1, 3]"]),
    "whole numbers": (lambda: snn.LIB(3, threshold=torch.ones(3, dtype=torch.int64)), TypeError,
                      ["LIB: threshold", "torch.int64", "threshold.float()"]),
    "a list": (lambda: snn.LIB(3, beta=[0.5, 0.5, 0.5]), TypeError, ["LIB: beta", "a number or a tensor", "[0.5"]),
    "a word": (lambda: snn.LIB(3, beta="slow"), TypeError, ["LIB: beta", "'slow'"]),
    "rank 2": (lambda: snn.LIB(3, beta_rank=2), ValueError, ["LIB: beta_rank", "0 (one value) or 1", "2"]),
    "rank as a bool": (lambda: snn.LIB(3, beta_rank=True), ValueError, ["LIB: beta_rank", "True"]),
    "no spike function": (lambda: snn.LIB(3, spike_fn=0.5), TypeError, ["LIB: spike_fn", "0.5"]),
    "a class as spike function": (lambda: snn.LIB(3, spike_fn=nn.Sigmoid), TypeError, ["LIB: spike_fn", "Sigmoid"]),
    "a class as quantiser": (lambda: snn.LIB(3, quant_fn=tt.functional.round_ste), TypeError, ["LIB: quant_fn"]),
    "soft spikes, reset to zero": (
        lambda: tt.compose(tt.Binary, tt.Reset("zero"))(3, spike_fn=nn.Sigmoid()), ValueError,
        ["Reset", "zero", "spike_fn=Sigmoid()", "no spike is ever exactly 0", "quant_fn=tt.functional.round_ste()"]),
    "soft spikes, refractory": (lambda: tt.compose(tt.Ternary, tt.Refractory)(3, spike_fn=nn.Sigmoid()), ValueError,
                                ["Refractory", "round_ste", "heavi_erfc"]),
}


@pytest.mark.parametrize("case", CONSTRUCT)
def test_constructors(case):
    call, kind, says = CONSTRUCT[case]
    with fails(kind, *says):
        call()


def test_the_default_spike_function_is_named_readably():
    with fails(ValueError, "spike_fn=sigmoid4x", "quant_fn=Identity()"):
        tt.compose(tt.Binary, tt.Reset("zero"))(3)


@pytest.mark.parametrize("callables", [{"spike_fn": HARD}, {"spike_fn": torch.relu},
                                       {"quant_fn": tt.functional.round_ste()},
                                       {"quant_fn": tt.functional.probabilistic_ste()},
                                       {"spike_fn": tt.functional.Arctan(torch.ones(3))}],
                         ids=["heavi", "relu", "round", "random", "learned per neuron"])
def test_hard_spikes_are_recognised(callables):
    tt.compose(tt.Binary, tt.Reset("zero"), tt.Refractory)(3, **callables)


def test_out_of_range_values_are_checked_in_hand_written_layers():
    class Mine(tt.snn.Layer):
        def __init__(self, **values):
            super().__init__(3)
            for kind, value in values.items():
                getattr(self, f"_register_{kind}")(kind, value, 1, True)

    Mine(decay=0.5, threshold=2.0, bias=-3.0)
    with fails(ValueError, "Mine: decay", "between 0 and 1", "got 1.5"):
        Mine(decay=1.5)
    with fails(ValueError, "Mine: threshold", "greater than 0", "got -1"):
        Mine(threshold=torch.tensor([1.0, -1.0, 1.0]))
    with fails(ValueError, "Mine: bias", "finite", "got inf"):
        Mine(bias=float("inf"))
    with fails(ValueError, "Mine: decay", "[] or [3]", "got [2]"):
        Mine(decay=torch.full((2,), 0.5))


# -- input of a step and of a scan -----------------------------------------------------


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
RUNS = {"step": lambda layer, x: layer(x), "pure step": lambda layer, x: layer.step(x, layer._carried()),
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
    return [getattr(layer, name) for _, layer in tt.model.named_layers(model) for name in layer._state_names]


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


# -- state management ------------------------------------------------------------------


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

    Fine().zero_states()


# -- what can't be recomputed ----------------------------------------------------------


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

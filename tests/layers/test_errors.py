"""Every error of compose, of stages and of constructors: its type, where, what was got, what to write instead."""

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.stages.own.graded import Graded
from tests.stages.own.inhibition import Inhibition
from tests.stages.own.resonant import Resonant
from tests.support.compositions import HARD
from tests.support.messages import fails
from tracetorch import snn


def stage(name="Odd", **attributes):
    """A stage class from its attributes."""
    return type(name, (tt.Stage,), attributes)


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
    "a user's stage without firing": (lambda: tt.compose(Inhibition), ValueError, ["Inhibition can't run", "s.spike"]),
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
    "a mode of reset": (lambda: tt.Reset("half"), ValueError,
                        ["tt.Reset", "'half'", "'subtract', 'zero', 'none', 'value'"]),
    "a reset to nothing": (lambda: tt.Reset("value"), ValueError, ["tt.Reset('value'): to what?", "tt.Reset(to=-0.2)"]),
    "a value and another mode": (lambda: tt.Reset("zero", to=1.0), ValueError,
                                 ["tt.Reset('zero', to=1.0)", "belong together", "tt.Reset(to=-0.2)"]),
    "a tensor to reset to": (lambda: tt.Reset(to=torch.ones(3)), TypeError, ["tt.Reset(to)", "reset_to=tensor"]),
    "an infinite value to reset to": (lambda: tt.Reset(to=float("inf")), ValueError, ["got inf", "finite"]),
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
    first = tt.compose(stage("Twin", place="input"), tt.Binary)     # held: a class that nobody holds frees its name
    other = stage("Twin", place="input")
    other.__module__ = "elsewhere"
    with fails(ValueError, "LIB_Twin is already the name", "Twin()", "name="):
        tt.compose(other, tt.Binary)
    assert tt.compose(other, tt.Binary, name="Elsewhere").__name__ == "Elsewhere" != first.__name__


def test_a_failed_composition_leaves_no_name_behind():
    class Late(tt.Stage):
        def step(self, s):
            s.shift = s.shift + s.spike

    with fails(ValueError, "Late can't run"):
        tt.compose(Late, tt.Binary)
    Late.step = lambda self, s: None
    assert tt.compose(Late, tt.Binary).__name__ == "LIB_Late"


def test_an_error_of_a_stage_is_its_own():
    with pytest.raises(ZeroDivisionError):
        tt.compose(stage(step=lambda self, s: 1 / 0))


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

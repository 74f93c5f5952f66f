"""compose: which class a set of stages gives, its name, signature, docstring, memory and pickles."""

import copy
import inspect
import itertools
import os
import pathlib
import pickle
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.stages.own.delay import Delay
from tests.stages.own.gain import Gain
from tests.stages.own.resonant import Resonant
from tests.support.compositions import COMPOSITIONS, HARD, assert_close, inputs, name_of, stepped

STAGES = {"D": tt.Dual, "S": tt.Synaptic, "R": tt.Recurrent}
ENDS = {"LI": (), "LIEMA": (tt.EMA,), "LIB": (tt.Binary,), "LIT": (tt.Ternary,), "LITS": (tt.Scaled,)}


def ready_made():
    """The names of the 32 classes and the stages they are made of."""
    for end, stages in ENDS.items():
        letters = "DS" if end in ("LI", "LIEMA") else "DSR"
        for r in range(len(letters) + 1):
            for chosen in itertools.combinations(letters, r):
                yield "".join(chosen) + end, (*(STAGES[letter] for letter in chosen), *stages)


@pytest.mark.parametrize("name, stages", list(ready_made()), ids=lambda v: v if isinstance(v, str) else "")
def test_ready_made_classes_are_compositions(name, stages):
    cls = getattr(tt.snn, name)
    assert cls.__name__ == cls.__qualname__ == name
    assert all(tt.compose(*order) is cls for order in itertools.permutations(stages))
    assert tt.compose(*(stage() for stage in stages)) is cls
    assert issubclass(cls, tt.Layer) and issubclass(cls, nn.Module)


def test_there_are_32_ready_made_classes():
    names = [name for name, _ in ready_made()]
    assert len(names) == len(set(names)) == 32
    assert set(names) <= set(tt.snn.__all__)


def test_what_the_neurons_are_made_of_does_not_lie_among_them():
    public = {name for name in dir(tt.snn) if not name.startswith("_")}
    assert public == {*tt.snn.__all__, "tether"}


def test_what_is_implied_may_be_named():
    assert tt.compose(tt.Leaky) is tt.compose() is tt.snn.LI
    assert tt.compose(tt.Binary, tt.Reset) is tt.compose(tt.Reset("subtract"), tt.Leaky(), tt.Binary()) is tt.snn.LIB
    assert tt.compose(tt.Ternary, tt.Scaled) is tt.compose(tt.Scaled) is tt.snn.LITS


def test_the_order_of_stages_within_a_place_counts():
    one, other = tt.compose(Delay, Gain), tt.compose(Gain, Delay)
    assert one is not other and one.__name__ != other.__name__
    assert [type(s) for s in one.stages] == [Delay, Gain, tt.Leaky]


def test_configuration_makes_another_class():
    resets = [tt.Reset(), tt.Reset(detach=True), tt.Reset("none"), tt.Reset("zero"), tt.Reset("zero", detach=False),
              tt.Reset(to=0.5), tt.Reset(to=-0.5), tt.Reset(to=0.5, detach=False)]
    plain, _, none, *_ = classes = [tt.compose(tt.Binary, reset) for reset in resets]
    assert len(set(classes)) == len({cls.__name__ for cls in classes}) == len(resets)
    assert plain is tt.snn.LIB
    assert tt.compose(tt.Binary, tt.Reset("none")) is none
    assert tt.compose(tt.Refractory(2), tt.Binary) is tt.compose(tt.Binary, tt.Refractory)
    assert tt.compose(tt.Refractory(3), tt.Binary) is not tt.compose(tt.Binary, tt.Refractory)


def test_stages_compare_by_class_and_configuration():
    assert tt.Reset("zero") == tt.Reset("zero") != tt.Reset("none")
    assert len({tt.Reset("zero"), tt.Reset("zero"), tt.Reset(), tt.Dual()}) == 3
    assert tt.Dual() != tt.Synaptic() and tt.Dual() != "Dual"
    assert repr(tt.Dual()) == "Dual()"
    assert tt.Reset("zero") == tt.Reset("zero", detach=True) and tt.Reset(to=1) == tt.Reset("value", to=1.0)
    for reset in (tt.Reset("zero"), tt.Reset(detach=True), tt.Reset(to=-0.2, detach=False)):
        assert eval(repr(reset), {"Reset": tt.Reset}) == reset


@pytest.mark.parametrize("stages, name", [
    ((tt.Dual, tt.Binary, tt.Scaled), "DLIBS"),
    ((tt.Recurrent,), "RLI"),
    ((tt.Synaptic, tt.Integrator, tt.Binary), "SIB"),
    ((tt.Binary, tt.Reset("zero")), "LIB_ResetZero"),
    ((tt.Binary, tt.Reset("zero", detach=False)), "LIB_ResetZeroNoDetach"),
    ((tt.Binary, tt.Reset(to=-0.2)), "LIB_ResetValue_0_2"),
    ((tt.EMA, tt.Ternary), "LIEMAT"),
    ((Resonant, tt.Dual, tt.Binary), "DRFB"),
    ((tt.Binary, tt.Adaptive), "LIB_Adaptive"),
    ((tt.Binary, tt.Adaptive, tt.RelativeRefractory), "LIB_Adaptive_RelativeRefractory"),
])
def test_names_follow_the_rule(stages, name):
    assert tt.compose(*stages).__name__ == name


def test_no_two_different_classes_share_a_name():
    classes = [c.cls for c in COMPOSITIONS] + [
        tt.compose(tt.Binary, tt.Refractory(3)), tt.compose(tt.Binary(biased=False)), tt.compose(Delay(5)),
        tt.compose(tt.Binary, tt.Reset("zero", detach=True)), tt.compose(tt.Binary, defaults={"beta": 0.95}),
        tt.compose(tt.Binary, defaults={"beta": 0.5}), tt.compose(defaults={"beta": 0.5})]
    assert len({cls.__name__ for cls in classes}) == len(set(classes)) == len(classes)
    assert all(cls.__name__.isidentifier() for cls in classes)


def test_a_name_of_ones_own():
    cls = tt.compose(tt.Binary, tt.Adaptive, name="MyNeuron")
    assert cls.__name__ == "MyNeuron"
    assert cls is tt.compose(tt.Adaptive, tt.Binary, name="MyNeuron")
    assert cls is not tt.compose(tt.Adaptive, tt.Binary)
    assert repr(cls(3, dim=1)).split() == ["MyNeuron(", "3,", "dim=1", "(quant_fn):", "Identity()", ")"]
    assert "MyNeuron" in repr(cls) and "Adaptive" in repr(cls)


def test_defaults():
    cls = tt.compose(tt.Binary, defaults={"beta": 0.95, "beta_rank": 0, "spike_fn": HARD})
    assert cls is tt.compose(tt.Binary, defaults={"spike_fn": HARD, "beta_rank": 0, "beta": 0.95})
    layer = cls(3)
    assert layer.beta.shape == () and layer.beta.item() == pytest.approx(0.95)
    assert layer.spike_fn == HARD
    assert inspect.signature(cls).parameters["beta"].default == 0.95
    assert cls(3, beta=0.5).beta.item() == pytest.approx(0.5)
    assert tt.snn.LIB(3).beta[0].item() == pytest.approx(0.9)


def test_layers_share_no_learnable_default():
    cls = tt.compose(tt.Binary, defaults={"spike_fn": tt.functional.Arctan(2.0)})
    one, other = cls(3), cls(3)
    assert "spike_fn.alpha" in dict(one.named_parameters())
    assert one.spike_fn.alpha is not other.spike_fn.alpha


def test_signature_of_a_new_composition():
    cls = tt.compose(tt.Adaptive, tt.Binary)
    want = ["num_neurons", "beta", "threshold", "bias", "rho", "kappa", "dim",
            "beta_rank", "threshold_rank", "bias_rank", "rho_rank", "kappa_rank",
            "learn_beta", "learn_threshold", "learn_bias", "learn_rho", "learn_kappa",
            "spike_fn", "quant_fn", "device", "dtype"]
    assert list(inspect.signature(cls).parameters) == want
    assert list(inspect.signature(cls.__init__).parameters) == ["self", *want]
    defaults = {name: p.default for name, p in inspect.signature(cls).parameters.items()}
    assert (defaults["rho"], defaults["kappa"], defaults["beta_rank"], defaults["learn_rho"]) == (0.95, 0.1, 1, True)
    assert defaults["spike_fn"] is tt.functional.sigmoid4x and defaults["num_neurons"] is inspect.Parameter.empty


def test_positional_arguments_follow_the_signature():
    layer = tt.snn.LIB(2, 0.5, 2.0, 0.25, 0)
    assert layer.dim == 0
    for name, value in {"beta": 0.5, "threshold": 2.0, "bias": 0.25}.items():
        assert getattr(layer, name).tolist() == pytest.approx([value] * 2)


@pytest.mark.parametrize("composition", COMPOSITIONS, ids=name_of)
def test_docstring_tells_recurrences_parameters_and_states(composition):
    cls = composition.cls
    text = inspect.getdoc(cls)
    assert text.startswith(f"{cls.__name__}: ")
    for stage in cls.stages:
        lines = [line.strip() for line in type(stage).__doc__.split("\n")]
        assert f"{type(stage).__name__}: {lines[0]}" in text
        assert f"\n    {lines[2]}" in text         # its formula
    for name, declared in cls.pipeline.parameters.items():
        assert f"    {name}: {declared.allowed}" in text
    assert all(f"\n    {name}" in text for name in cls.pipeline.states)


def test_dual_splits_traces_and_ternary_thresholds():
    cls = tt.compose(tt.Dual, tt.Synaptic, tt.Recurrent, tt.Scaled, tt.Adaptive)
    pairs = ["syn", "rec", "mem"]
    assert set(cls.pipeline.states) == {f"{side}_{p}" for p in pairs for side in ("pos", "neg")} | {
        "prev_output", "adapt"}
    assert set(cls.pipeline.parameters) == {
        f"{side}_{p}" for p in ("alpha", "gamma", "beta", "rec_weight", "threshold", "scale") for side in
        ("pos", "neg")} | {"bias", "rho", "kappa"}


def test_a_user_stage_may_split_too():
    assert list(tt.compose(tt.Dual, Resonant).pipeline.states) == ["pos_mem", "neg_mem", "pos_vel", "neg_vel"]


class Louder(tt.snn.LIB):
    """A subclass with a constructor and a forward of its own."""

    def __init__(self, num_neurons, loudness=3.0, **options):
        super().__init__(num_neurons, **options)
        self.loudness = loudness

    def forward(self, x):
        return self.loudness * super().forward(x)


class Renamed(tt.snn.DSLIT):
    """A subclass that changes nothing."""


def test_a_subclass_with_its_own_forward_is_scanned_by_stepping(backend):
    x = inputs(5, 2, 3).float()
    louder, plain = Louder(3), tt.snn.LIB(3)
    with tt.backend(backend):
        assert_close(tt.scan(louder, x), 3 * stepped(plain, x))
    assert_close(louder.mem, plain.mem)


def test_a_subclass_without_one_is_scanned_as_its_base(backend):
    x = inputs(5, 2, 3).float()
    with tt.backend(backend):
        assert_close(tt.scan(Renamed(3), x), tt.scan(tt.snn.DSLIT(3), x))
    assert repr(Renamed(3)).startswith("Renamed(")


@pytest.mark.parametrize("cls", [Louder, Renamed])
def test_subclasses_pickle(cls):
    layer = cls(3)
    layer(inputs(2, 3).float())
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert type(twin) is cls
        assert_close(twin(inputs(2, 3).float()), copy.deepcopy(layer)(inputs(2, 3).float()))


@pytest.mark.parametrize("composition", COMPOSITIONS, ids=name_of)
def test_classes_pickle_to_themselves(composition):
    assert pickle.loads(pickle.dumps(composition.cls)) is composition.cls
    assert copy.deepcopy(composition.cls) is composition.cls


def test_named_and_configured_classes_pickle_to_themselves():
    for cls in (tt.compose(tt.Binary, name="Own"), tt.compose(tt.Binary, tt.Refractory(7), defaults={"beta": 0.3})):
        assert pickle.loads(pickle.dumps(cls)) is cls


def run_python(code, *args):
    """Run a script as __main__ in a fresh interpreter; return what it prints."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
                          cwd=pathlib.Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."},
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


NOTEBOOK = """
    import sys, pickle, torch, tracetorch as tt

    class Boost(tt.Stage):
        place = "input"
        boost = tt.Real(2.0)

        def step(self, s):
            s.x = s.boost * s.x

    Cell = tt.compose(Boost, tt.Dual, tt.Binary)
    first = Cell(3)

    class Boost(tt.Stage):                       # the cell is run again
        place = "input"
        boost = tt.Real(3.0)

        def step(self, s):
            s.x = s.boost * s.x

    Again = tt.compose(Boost, tt.Dual, tt.Binary)
    assert Again is not Cell and Again.__name__ == Cell.__name__ == "DLIB_Boost"
    assert Again(3).boost[0].item() == 3.0 and first.boost[0].item() == 2.0
    layer = Again(3)
    y = layer(torch.ones(2, 3))
    twin = pickle.loads(pickle.dumps(layer))
    assert type(twin) is Again
    assert torch.equal(twin(torch.ones(2, 3)), layer(torch.ones(2, 3)))
"""


def test_a_class_made_in_main_pickles_there_and_a_cell_may_be_run_again():
    assert run_python(NOTEBOOK + "\n    print('ok')\n") == "ok"


def test_a_file_from_one_program_is_read_by_the_next(tmp_path):
    """The composition alone is enough: the second program composes nothing itself."""
    file = tmp_path / "layer.pt"
    write = """
        import sys, torch, tracetorch as tt
        from tests.stages.own.resonant import Resonant
        torch.manual_seed(0)
        layer = tt.compose(Resonant, tt.Dual, tt.Binary, tt.Refractory(3), name="Mine")(
            3, spike_fn=tt.functional.heavi_tanh(2.0))
        layer(torch.ones(2, 3))
        torch.save(layer, sys.argv[1])
        print(layer(torch.ones(2, 3)).tolist(), layer.pos_vel.tolist())
    """
    read = """
        import sys, torch
        layer = torch.load(sys.argv[1], weights_only=False)
        assert type(layer).__name__ == "Mine"
        print(layer(torch.ones(2, 3)).tolist(), layer.pos_vel.tolist())
    """
    assert run_python(write, file) == run_python(read, file)


def make(value):
    class Nudge(tt.Stage):
        nudge = tt.Real(value)

        def step(self, s):
            s.shift = s.shift + s.nudge

    return Nudge


def test_a_redefined_stage_gives_a_new_class_and_leaves_the_old_one():
    one, other = make(0.0), make(100.0)
    old, new = tt.compose(one, tt.Binary), tt.compose(other, tt.Binary)
    assert old is not new and old.__name__ == new.__name__
    assert (old(1).nudge.item(), new(1).nudge.item()) == (0.0, 100.0)
    x = torch.full((1,), 5.0)
    assert old(1, spike_fn=HARD)(x).item() == 1 and new(1, spike_fn=HARD)(x).item() == 0
    assert tt.compose(one, tt.Binary) is old

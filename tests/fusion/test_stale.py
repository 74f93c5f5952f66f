"""What a kernel was made from changes between two scans: the next scan computes what eager computes."""

import collections
import decimal
import enum
import fractions
import functools
import gc
import importlib
import operator
import sys
import types
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import assert_close, inputs, outcome
from tests.support.rounding import check_rounds_as_eager, output

K = 1.0
TABLE = {"k": 1.0}
X = inputs(6, 2, 4, seed=3)


def shape(v, k):
    """A bounded spike function with slope k."""
    return torch.tanh(float(k) * v)


def ran(layer, backend, stepped=False):
    """The outcome of a scan or of stepping."""
    def run(x):
        with warnings.catch_warnings(), tt.backend(backend):
            warnings.simplefilter("ignore")
            return torch.stack([layer(x_t) for x_t in x]) if stepped else tt.scan(layer, x)
    return outcome(layer, run, X)


def neuron(fn, **options):
    return tt.snn.LIB(4, spike_fn=fn, **options).double()


CASES = {}


def case(make):
    """Register a function that returns a layer and what changes it."""
    CASES[make.__name__.strip("_")] = make
    return make


def closure(values):
    """A case in which a closure's variable takes one value after another."""
    first, second = values
    k = first

    def fn(v):
        return shape(v, k)

    def change():
        nonlocal k
        k = second
    return neuron(fn), change


NUMBERS = {
    "numpy_float64": (np.float64(1), np.float64(3)), "numpy_float32": (np.float32(1), np.float32(3)),
    "numpy_int": (np.arange(5)[1], np.arange(5)[3]), "zero_d_array": (np.array(1.0), np.array(3.0)),
    "decimal": (decimal.Decimal("1"), decimal.Decimal("3")), "fraction": (fractions.Fraction(1), fractions.Fraction(3)),
    "python": (1, 3), "tensor": (torch.tensor(1.0), torch.tensor(3.0)), "text": ("1", "3"),
}
for _name, _values in NUMBERS.items():
    CASES[f"closure_of_{_name}"] = functools.partial(closure, _values)


@case
def array_written_in_place():
    k = np.array([1.0])
    return neuron(lambda v: shape(v, k[0])), lambda: k.fill(3.0)


@case
def large_array_written_in_place():
    k = np.ones(1000)
    return neuron(lambda v: shape(v, k[500])), lambda: k.fill(3.0)


@case
def default_of_numpy():
    layers = [neuron(lambda v, k=k: shape(v, k)) for k in np.arange(1, 4, 2)]
    return layers[0], lambda: setattr(layers[0], "spike_fn", layers[1].spike_fn)


@case
def tensor_method():
    layer = neuron(torch.Tensor.sigmoid)
    return layer, lambda: setattr(layer, "spike_fn", torch.Tensor.tanh)


@case
def tensor_method_inside():
    fns = [torch.Tensor.sigmoid]
    return neuron(lambda v: fns[0](v)), lambda: fns.__setitem__(0, torch.Tensor.tanh)


@case
def method_caller():
    layer = neuron(operator.methodcaller("clamp", -1.0, 1.0))
    return layer, lambda: setattr(layer, "spike_fn", operator.methodcaller("clamp", -0.1, 0.1))


@case
def partial_over_a_method():
    layer = neuron(functools.partial(torch.Tensor.clamp, min=-1.0, max=1.0))
    return layer, lambda: setattr(layer, "spike_fn", functools.partial(torch.Tensor.clamp, min=-0.1, max=0.1))


@case
def keyword_of_a_partial():
    fn = functools.partial(shape, k=1.0)
    return neuron(fn), lambda: fn.keywords.update(k=3.0)


@case
def attribute_of_an_attrgetter():
    class Holder:
        k = 1.0
    read = operator.attrgetter("k")
    return neuron(lambda v: shape(v, read(Holder))), lambda: setattr(Holder, "k", 3.0)


CONFIG = types.ModuleType("a_config_module")


@case
def attribute_of_a_module():
    CONFIG.k = 1.0
    return neuron(lambda v: shape(v, CONFIG.k)), lambda: setattr(CONFIG, "k", 3.0)


@case
def attribute_of_a_class_in_a_module():
    class Settings:
        k = 1.0
    CONFIG.Settings = Settings
    return neuron(lambda v: shape(v, CONFIG.Settings.k)), lambda: setattr(Settings, "k", 3.0)


@case
def attribute_of_a_nested_module():
    CONFIG.inner = types.ModuleType("a_config_module.inner")
    CONFIG.inner.k = 1.0
    return neuron(lambda v: shape(v, CONFIG.inner.k)), lambda: setattr(CONFIG.inner, "k", 3.0)


@case
def module_under_another_name():
    CONFIG.k = 1.0

    def fn(v):
        config = CONFIG
        return shape(v, config.k)
    return neuron(fn), lambda: setattr(CONFIG, "k", 3.0)


@case
def module_given_to_a_helper():
    CONFIG.k = 1.0

    def helper(space, v):
        return shape(v, space.k)
    return neuron(lambda v: helper(CONFIG, v)), lambda: setattr(CONFIG, "k", 3.0)


@case
def helper_of_a_module_is_replaced():
    CONFIG.helper = lambda v: shape(v, 1.0)
    return neuron(lambda v: CONFIG.helper(v)), lambda: setattr(CONFIG, "helper", lambda v: shape(v, 3.0))


@case
def getattr_of_a_module():
    CONFIG.k = 1.0
    name = "k"
    return neuron(lambda v: shape(v, getattr(CONFIG, name))), lambda: setattr(CONFIG, "k", 3.0)


@case
def attribute_by_the_dict_of_an_instance():
    class Holder:
        pass
    held = Holder()
    held.k = 1.0
    return neuron(lambda v: shape(v, held.__dict__["k"])), lambda: setattr(held, "k", 3.0)


@case
def instance_that_is_called():
    class Call:
        def __init__(self):
            self.k = 1.0

        def __call__(self, v):
            return shape(v, self.k)
    fn = Call()
    return neuron(fn), lambda: setattr(fn, "k", 3.0)


@case
def attribute_that_is_new():
    class Call:
        k = 1.0

        def __call__(self, v):
            return shape(v, self.k)
    fn = Call()
    return neuron(fn), lambda: setattr(fn, "k", 3.0)


@case
def slot_of_an_instance():
    class Call:
        __slots__ = ("k",)

        def __call__(self, v):
            return shape(v, self.k)
    fn = Call()
    fn.k = 1.0
    return neuron(fn), lambda: setattr(fn, "k", 3.0)


@case
def code_of_a_method_is_replaced():
    class Call:
        def __call__(self, v):
            return self.shape(v)

        def shape(self, v):
            return shape(v, 1.0)
    fn = Call()
    return neuron(fn), lambda: setattr(Call, "shape", lambda self, v: shape(v, 3.0))


@case
def call_of_a_class_is_replaced():
    class Call:
        def __call__(self, v):
            return shape(v, 1.0)
    return neuron(Call()), lambda: setattr(Call, "__call__", lambda self, v: shape(v, 3.0))


@case
def inherited_class_attribute():
    class Base:
        k = 1.0

    class Call(Base):
        def __call__(self, v):
            return shape(v, self.k)
    return neuron(Call()), lambda: setattr(Base, "k", 3.0)


@case
def dict_in_a_class_attribute():
    class Call:
        options = {"k": 1.0}        # noqa: RUF012

        def __call__(self, v):
            return shape(v, self.options["k"])
    return neuron(Call()), lambda: Call.options.update(k=3.0)


@case
def property_that_reads_a_global():
    class Call:
        @property
        def k(self):
            return TABLE["k"]

        def __call__(self, v):
            return shape(v, self.k)
    TABLE["k"] = 1.0
    return neuron(Call()), lambda: TABLE.update(k=3.0)


@case
def static_method_of_a_class():
    class Helpers:
        @staticmethod
        def slope():
            return 1.0
    return neuron(lambda v: shape(v, Helpers.slope())), lambda: setattr(Helpers, "slope", staticmethod(lambda: 3.0))


@case
def bound_method():
    class Helper:
        k = 1.0

        def fire(self, v):
            return shape(v, self.k)
    helper = Helper()
    return neuron(helper.fire), lambda: setattr(helper, "k", 3.0)


@case
def class_of_an_instance():
    class One:
        def __call__(self, v):
            return shape(v, 1.0)

    class Three:
        def __call__(self, v):
            return shape(v, 3.0)
    fn = One()
    return neuron(fn), lambda: setattr(fn, "__class__", Three)


@case
def base_of_an_autograd_function():
    class Base(torch.autograd.Function):
        slope = 1.0

        @staticmethod
        def forward(ctx, v):
            ctx.save_for_backward(v)
            return (v > 0).to(v.dtype)

        @classmethod
        def factor(cls):
            return cls.slope

        @staticmethod
        def backward(ctx, g):
            (v,) = ctx.saved_tensors
            return g * Base.factor() / (1 + v.abs()) ** 2

    class Fire(Base):
        pass
    return neuron(lambda v: Fire.apply(v)), lambda: setattr(Base, "slope", 3.0)


@case
def module_whose_forward_is_replaced_in_the_class():
    class Fire(nn.Module):
        def forward(self, v):
            return shape(v, 1.0)
    return neuron(Fire()), lambda: setattr(Fire, "forward", lambda self, v: shape(v, 3.0))


@case
def module_whose_forward_is_replaced():
    fn = nn.Tanh()
    return neuron(fn), lambda: setattr(fn, "forward", lambda v: shape(v, 3.0))


@case
def property_of_a_module():
    class Fire(nn.Module):
        @property
        def k(self):
            return TABLE["k"]

        def forward(self, v):
            return shape(v, self.k)
    TABLE["k"] = 1.0
    return neuron(Fire()), lambda: TABLE.update(k=3.0)


@case
def child_of_a_module_is_replaced():
    fn = nn.Sequential(nn.Tanh())
    return neuron(fn), lambda: fn.__setitem__(0, nn.Hardtanh(-0.1, 0.1))


@case
def child_of_a_module_is_appended():
    fn = nn.Sequential(nn.Tanh())
    return neuron(fn), lambda: fn.append(nn.Hardtanh(-0.1, 0.1))


@case
def global_():
    global K
    K = 1.0

    def change():
        global K
        K = 3.0
    return neuron(lambda v: shape(v, K)), change


@case
def global_in_a_comprehension():
    global K
    K = 1.0

    def change():
        global K
        K = 3.0
    return neuron(lambda v: sum([shape(v, K) for _ in range(2)]) / 2), change


@case
def global_in_an_inner_function():
    global K
    K = 1.0

    def fn(v):
        def inner(u):
            return shape(u, K)
        return inner(v)

    def change():
        global K
        K = 3.0
    return neuron(fn), change


@case
def attribute_of_a_function():
    def fn(v):
        return shape(v, fn.k)
    fn.k = 1.0
    return neuron(fn), lambda: setattr(fn, "k", 3.0)


@case
def closure_of_an_attribute_of_a_function():
    def helper(k):
        return lambda v: shape(v, k)

    def fn(v):
        return fn.inner(v)
    fn.inner = helper(1.0)
    return neuron(fn), lambda: setattr(fn, "inner", helper(3.0))


@case
def code_of_a_function():
    def fn(v):
        return shape(v, 1.0)

    def other(v):
        return shape(v, 3.0)
    return neuron(fn), lambda: setattr(fn, "__code__", other.__code__)


@case
def keyword_defaults():
    def fn(v, *, k=1.0):
        return shape(v, k)
    return neuron(fn), lambda: fn.__kwdefaults__.update(k=3.0)


@case
def numbers_nested_deep():
    held = [1.0]
    nested = held
    for _ in range(30):
        nested = [nested]

    def fn(v):
        inner = nested
        for _ in range(30):
            inner = inner[0]
        return shape(v, inner[0])
    return neuron(fn), lambda: held.__setitem__(0, 3.0)


@case
def member_of_an_enum():
    class Slope(enum.Enum):
        FLAT, STEEP = 1.0, 3.0
    chosen = {"slope": Slope.FLAT}
    return neuron(lambda v: shape(v, chosen["slope"].value)), lambda: chosen.update(slope=Slope.STEEP)


@case
def field_of_a_dataclass():
    @dataclass
    class Settings:
        k: float = 1.0
    settings = Settings()
    return neuron(lambda v: shape(v, settings.k)), lambda: setattr(settings, "k", 3.0)


@case
def simple_namespace():
    settings = types.SimpleNamespace(k=1.0)
    return neuron(lambda v: shape(v, settings.k)), lambda: setattr(settings, "k", 3.0)


@case
def named_tuple():
    Settings = collections.namedtuple("Settings", "k")
    held = [Settings(1.0)]
    return neuron(lambda v: shape(v, held[0].k)), lambda: held.__setitem__(0, Settings(3.0))


@case
def default_dict():
    held = collections.defaultdict(lambda: 1.0)
    return neuron(lambda v: shape(v, held.get("k", 1.0))), lambda: held.update(k=3.0)


@case
def deque_():
    held = collections.deque([1.0])
    return neuron(lambda v: shape(v, held[0])), lambda: held.__setitem__(0, 3.0)


@case
def counter_of_calls():
    calls = [0]

    def fn(v):
        calls[0] += 1
        return shape(v, 1.0 + 0.1 * (calls[0] % 7))
    return neuron(fn), lambda: calls.__setitem__(0, 0)


@case
def counter_of_calls_in_a_module():
    class Fire(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, v):
            self.calls += 1
            return shape(v, 1.0 + 0.1 * (self.calls % 7))
    fn = Fire()
    return neuron(fn), lambda: setattr(fn, "calls", 0)


@case
def pre_hook_of_a_module():
    fn = nn.Tanh()
    return neuron(fn), lambda: fn.register_forward_pre_hook(lambda module, args: (3.0 * args[0],))


@case
def hook_of_a_module():
    fn = nn.Tanh()
    return neuron(fn), lambda: fn.register_forward_hook(lambda module, args, out: 0.3 * out)


@case
def backward_hook_of_a_module():
    fn = nn.Tanh()
    return neuron(fn), lambda: fn.register_full_backward_hook(lambda module, gin, gout: (3.0 * gin[0],))


@case
def hook_of_the_default_quantiser():
    layer = tt.snn.LIB(4).double()
    return layer, lambda: layer.quant_fn.register_forward_hook(lambda module, args, out: 0.3 * out)


@case
def hook_of_a_child():
    fn = nn.Sequential(nn.Tanh())
    return neuron(fn), lambda: fn[0].register_forward_hook(lambda module, args, out: 0.3 * out)


@case
def slope_of_a_surrogate():
    fn = tt.functional.HeaviTanh(1.0)
    return neuron(fn), lambda: object.__setattr__(fn, "k", 3.0)


class Gain(tt.Stage):
    """Configured, with a class attribute, a dict in a class attribute, and a property."""

    place = "drive"
    factor = 1.0
    table = {"k": 1.0}      # noqa: RUF012

    def __init__(self, own=1.0):
        self.own = own

    @property
    def read(self):
        return TABLE["k"]

    def step(self, s):
        for b in s.branches:
            b.drive = b.drive * self.own * self.factor * self.table["k"] * self.read


def staged():
    TABLE["k"] = 1.0
    Gain.factor = 1.0
    Gain.table["k"] = 1.0
    stage = Gain()
    return stage, tt.compose(stage, tt.Binary, name="GainedLIB")(4).double()


@case
def attribute_of_a_stage():
    layer = staged()[1]
    composed = next(s for s in layer.stages if isinstance(s, Gain))
    composed.own = 1.0
    return layer, lambda: setattr(composed, "own", 2.0)


@case
def class_attribute_of_a_stage():
    return staged()[1], lambda: setattr(Gain, "factor", 2.0)


@case
def dict_of_a_stage():
    return staged()[1], lambda: Gain.table.update(k=2.0)


@case
def property_of_a_stage():
    return staged()[1], lambda: TABLE.update(k=2.0)


@case
def step_of_a_stage_is_replaced():
    class Twice(tt.Stage):
        place = "drive"

        def step(self, s):
            s.drive = s.drive * 1.0

    def step(self, s):
        s.drive = s.drive * 2.0
    return tt.compose(Twice, tt.Binary, name="TwiceLIB")(4).double(), lambda: setattr(Twice, "step", step)


@case
def attribute_of_a_stage_of_the_library():
    layer = tt.compose(tt.Binary, tt.Reset("subtract", detach=True), name="ResetChangesLIB")(4).double()
    reset = next(s for s in layer.stages if isinstance(s, tt.Reset))
    reset.mode = "subtract"
    return layer, lambda: setattr(reset, "mode", "zero")


@case
def training_flag():
    class Fire(nn.Module):
        def forward(self, v):
            return shape(v, 1.0 if self.training else 3.0)
    layer = neuron(Fire())
    return layer, layer.eval


@case
def default_dtype():
    def fn(v):
        return shape(v, 1.0 if torch.get_default_dtype() == torch.float32 else 3.0)
    return neuron(fn), lambda: torch.set_default_dtype(torch.float64)


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
        step, call = tt.compose(Scaled, tt.Binary, name="Redefined")(4).described(torch.float32, x.device)
        cache.captured(step, call.dtype)
    assert len(cache._known) <= cache.LIMIT
    gc.collect()
    classes = sys.modules["tracetorch.layers.compose"]._classes
    assert sum(cls.__name__ == "Redefined" for cls in classes.values()) <= 2

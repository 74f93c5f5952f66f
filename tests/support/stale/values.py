"""Cases: numbers, containers and functions, in closures, defaults and globals."""

import collections
import decimal
import enum
import fractions
import functools
import operator
import types
from dataclasses import dataclass

import numpy as np
import torch

from . import CASES, case, neuron, shape

K = 1.0


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
def default_dtype():
    def fn(v):
        return shape(v, 1.0 if torch.get_default_dtype() == torch.float32 else 3.0)
    return neuron(fn), lambda: torch.set_default_dtype(torch.float64)

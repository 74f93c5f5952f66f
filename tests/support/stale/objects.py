"""Cases: instances and their classes."""

import torch

import tracetorch as tt

from . import TABLE, case, neuron, shape


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
def slope_of_a_surrogate():
    fn = tt.functional.HeaviTanh(1.0)
    return neuron(fn), lambda: object.__setattr__(fn, "k", 3.0)

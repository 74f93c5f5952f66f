"""Cases: Python modules, nn.Modules and their hooks."""

import types

from torch import nn

import tracetorch as tt

from . import TABLE, case, neuron, shape

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

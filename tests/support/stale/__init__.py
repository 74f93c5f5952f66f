"""What a kernel is made from, and how it is changed: each case returns a layer and the function that changes it."""

import torch

import tracetorch as tt

TABLE = {"k": 1.0}


def shape(v, k):
    """A bounded spike function with slope k."""
    return torch.tanh(float(k) * v)


def neuron(fn, **options):
    return tt.snn.LIB(4, spike_fn=fn, **options).double()


CASES = {}


def case(make):
    """Register a function that returns a layer and what changes it."""
    CASES[make.__name__.strip("_")] = make
    return make

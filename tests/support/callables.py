"""A learnable spike function, and what a neuron with given callables computes."""

import math

import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import inputs, outcome


class Slope(nn.Module):
    """A learnable slope, a buffer and a plain number."""

    def __init__(self, shape=()):
        super().__init__()
        self.slope = nn.Parameter(torch.linspace(1.0, 2.0, max(1, math.prod(shape))).reshape(shape))
        self.register_buffer("shift", torch.tensor(0.1))
        self.gain = 1.5

    def forward(self, v):
        return torch.sigmoid(self.gain * self.slope * (v - self.shift))


X = inputs(13, 3, 4, seed=3)


def scanned(layer, backend):
    """The outcome of a scan of a neuron with given callables."""
    return outcome(layer, lambda x: tt.scan(layer, x, backend=backend), X)

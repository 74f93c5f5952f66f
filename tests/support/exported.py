"""One step as an exported program, held to eager steps."""

import torch
from torch import nn

import tracetorch as tt


class OneStep(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, states):
        return self.layer.step(x, states)


def check_exported_step(layer, x, names):
    """Steps of the program over x [T, ...], from zero states of these names, are those of eager, bit for bit."""
    states = {name: torch.zeros_like(x[0]) for name in names}
    program = torch.export.export(OneStep(layer), (x[0], states)).module()
    want, got = dict(states), dict(states)
    for x_t in x:
        with tt.backend("eager"):
            y_want, want = layer.step(x_t, want)
        y_got, got = program(x_t, got)
        assert torch.equal(y_got, y_want)
    assert all(torch.equal(got[name], want[name]) for name in states)

"""A learnable spike function, and what a neuron with given callables computes."""

import math

import torch
from torch import nn

import tracetorch as tt


class Slope(nn.Module):
    """A learnable slope, a buffer and a plain number."""

    def __init__(self, shape=()):
        super().__init__()
        self.slope = nn.Parameter(torch.linspace(1.0, 2.0, max(1, math.prod(shape))).reshape(shape))
        self.register_buffer("shift", torch.tensor(0.1))
        self.gain = 1.5

    def forward(self, v):
        return torch.sigmoid(self.gain * self.slope * (v - self.shift))


def outcome(layer, backend):
    """Output, final state and all gradients of a scan, from a fixed seed."""
    g = torch.Generator().manual_seed(3)
    x = torch.randn(13, 3, 4, generator=g, dtype=torch.float64).mul_(1.3).requires_grad_()
    layer.zero_states()
    torch.manual_seed(5)
    y = tt.scan(layer, x, backend=backend)
    (y * torch.randn(y.shape, generator=g, dtype=y.dtype)).sum().backward()
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in layer.parameters()]
    layer.zero_grad(set_to_none=True)
    return [y, layer.mem, x.grad, *grads]

"""A layer that hears itself, and the same neurons in plain PyTorch: `neuron(x + path(fed))`, step after step."""

import torch
from torch import nn

import tracetorch as tt


def feedback(neuron, *, bias=True, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    path = nn.Linear(neuron.num_neurons, neuron.num_neurons, bias=bias)
    return tt.Feedback(neuron, path).to(dtype)


def reference(layer, x, fed=None):
    """Outputs of the same neurons by the definition, which knows nothing of Feedback; states in the neuron."""
    neuron, weight, bias = layer.neuron, layer.path.weight, layer.path.bias
    ys = []
    with tt.backend("eager"):
        for x_t in x:
            fed = torch.zeros_like(x_t) if fed is None else fed
            back = fed @ weight.T
            fed = neuron(x_t + (back if bias is None else back + bias))
            ys.append(fed)
    return torch.stack(ys)


def gradients(layer, y, *leaves):
    """Gradients of a loss that no two outputs enter alike, of leaves and parameters."""
    torch.manual_seed(1)
    loss = (y * torch.randn(y.shape, dtype=y.dtype)).sum()
    wanted = [*leaves, *layer.parameters()]
    return [torch.zeros_like(t) if g is None else g
            for t, g in zip(wanted, torch.autograd.grad(loss, wanted, allow_unused=True), strict=True)]


def reference_alone(layer, x):
    """The same from fresh states."""
    layer.zero_states()
    return reference(layer, x)

"""What a fused backend does to a callable: trace forward and gradient to graphs, and run those."""

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from tracetorch.functional.random import TracingStream


def gradient(fn, x, grad):
    """(fn(x), gradient of x) by autograd, written so that make_fx can trace it."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = fn(x)
        return y.detach(), torch.autograd.grad(y, x, grad)[0]


def trace(fn, x):
    """Graph of `gradient`, with draws as operators, captured at other values than it will see."""
    with TracingStream():
        return make_fx(lambda x, g: gradient(fn, x, g))(torch.rand_like(x), torch.rand_like(x))


def operators(graph):
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]

"""A tt.Linear beside an nn.Linear with the same weights."""

import copy

import torch
from torch import nn

import tracetorch as tt
from tests.support.rounding import assert_as_right, nearby


def spikes(*shape, rate=0.1, seed=0):
    torch.manual_seed(seed)
    return (torch.rand(*shape) < rate).float()


def pair(K=70, N=33, bias=True, **options):
    """An nn.Linear, and a tt.Linear with the same weights."""
    torch.manual_seed(1)
    theirs = nn.Linear(K, N, bias)
    ours = tt.Linear(K, N, bias, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def run(linear, x):
    """Output and gradients."""
    x = x.clone().requires_grad_()
    linear.zero_grad()
    y = linear(x)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y).to(y)).sum().backward()
    return [y.detach(), x.grad, *(p.grad for _, p in sorted(linear.named_parameters()))]


def check_rounds_as(theirs, ours, x):
    """Output and gradients are as right as nn.Linear's."""
    exact = run(copy.deepcopy(theirs).double(), x.double())
    assert_as_right(run(ours, x), [run(*one) for one in nearby(theirs, x)], exact)


def equal(a, b):
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))

"""Every stage in company: the compositions that the generic tests run over."""

import torch
from torch import nn

import tests.stages.own  # noqa: F401  (its stages join below)
import tracetorch as tt
from tracetorch.layers.states import named_holders
from tracetorch.testing import (
    COMPANY,
    ERROR,
    HARD,
    Composition,
    accepted,
    assert_close,
    gradients,
    inputs,
    start,
    states,
    stepped,
)

__all__ = [
    "COMPANY", "COMPOSITIONS", "ERROR", "EXTREMES", "HARD", "SMALLEST", "STAGES", "Composition", "Net", "accepted",
    "assert_close", "gradients", "inputs", "name_of", "outcome", "start", "states", "stepped",
]


class Net(tt.Model):
    """Two layers with a plain module between them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([tt.snn.SLIB(3), tt.snn.LI(3)])
        self.between = nn.Linear(3, 3)

    def forward(self, x):
        return self.layers[1](self.between(self.layers[0](x)))


def outcome(model, run, x, warm=False, key=None):
    """Output, states, and all gradients of a fixed loss on both, from the same start and random numbers every time.

    `warm` starts a single layer from random states, whose gradients come along; `key` is that of its random numbers.
    What is drawn here fits into float32, so that a run in float64 is given the same.
    """
    tt.zero_states(model)
    torch.manual_seed(5)
    leaves = [x.clone().requires_grad_()]
    if key is not None:
        model.rng = torch.tensor([key, 0], device=x.device)
    for name, state in start(model, x.shape[1:]).items() if warm else ():
        leaves.append(state.float().to(x.device, state.dtype).requires_grad_())
        setattr(model, name, leaves[-1])
    y = run(leaves[0])
    live = [state for _, layer in named_holders(model) for _, state in layer.live_states()]
    values = [y, *(state for state in live if state.is_floating_point())]       # not where random numbers stand
    loss = sum((v * inputs(*v.shape, seed=i, dtype=torch.float32).to(v)).sum() for i, v in enumerate(values))
    leaves += [p for p in model.parameters() if p.requires_grad]
    return [*values, *torch.autograd.grad(loss, leaves, materialize_grads=True)]


def stages() -> list[type[tt.Stage]]:
    """Every stage of the library and of tests/stages/own."""
    found, todo = [], [tt.Stage]
    while todo:
        for stage in todo.pop().__subclasses__():
            todo.append(stage)
            if stage.__module__.startswith(("tracetorch.", "tests.stages.own.")):
                found.append(stage)
    return sorted(found, key=lambda stage: stage.__name__)


STAGES = stages()
COMPOSITIONS = tuple(dict.fromkeys(c for stage in STAGES for c in accepted(stage)))
SMALLEST = tuple(dict.fromkeys(accepted(stage)[0] for stage in STAGES))
"""One composition per stage, with as little company as it needs."""
EXTREMES = tuple(dict.fromkeys((*SMALLEST, *(accepted(stage)[-1] for stage in STAGES))))
"""Per stage the composition with the least and the one with the most company."""


def name_of(composition: Composition) -> str:
    return composition.cls.__name__

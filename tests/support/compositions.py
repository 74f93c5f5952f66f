"""Every stage in company: the compositions that the generic tests run over."""

from torch import nn

import tests.stages.own  # noqa: F401  (its stages join below)
import tracetorch as tt
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


def outcome(model, run, x):
    """Output, gradients and states of a run from fresh states."""
    tt.zero_states(model)
    model.zero_grad()
    leaf = x.clone().requires_grad_()
    y = run(leaf)
    y.square().sum().backward()
    return [y, leaf.grad, *(p.grad for p in model.parameters()), *tt.save_states(model).values()]


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

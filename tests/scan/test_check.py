"""A first scan says aloud where folding time into the batch would compute another model."""

import warnings

import pytest
import torch
from torch import nn

import tracetorch as tt


class Of(nn.Module):
    """A layer between what a function does to its input and to its output."""

    def __init__(self, function, width=4):
        super().__init__()
        self.layer, self.function = tt.snn.LIB(width), function

    def forward(self, x):
        return self.function(self.layer(x))


class Feedback(nn.Module):
    """The first thing that people write: the last output, kept in Python."""

    def __init__(self, width=4):
        super().__init__()
        self.linear, self.layer, self.last = nn.Linear(width, width), tt.snn.LIB(width), None

    def forward(self, x):
        x = self.linear(x)
        if self.last is not None and len(self.last) == len(x):
            x = x + self.last
        self.last = self.layer(x)
        return self.last


class Counts(nn.Module):
    """Keeps its last output for a look at it, which changes nothing."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = tt.snn.LIB(4), None

    def forward(self, x):
        self.seen = self.layer(x)
        return self.seen


def attention(x):
    return torch.softmax(x @ x.T, -1) @ x


MIXING = {
    "mean over the batch": lambda: Of(lambda y: y - y.mean(0)), "softmax over 0": lambda: Of(lambda y: y.softmax(0)),
    "roll": lambda: Of(lambda y: y.roll(1, 0)), "sort": lambda: Of(lambda y: y.sort(0).values),
    "attention": lambda: Of(attention), "cumulative sum": lambda: Of(lambda y: y.cumsum(0)),
    "feedback": Feedback, "inside": lambda: nn.Sequential(nn.Linear(4, 4), Feedback()),
}
X = torch.rand(8, 3, 4, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize("name", MIXING)
def test_what_folding_would_change_is_refused(name):
    model = MIXING[name]()
    with pytest.raises(ValueError, match=r"tt.scan: folding differs from stepping by up to .*fold=False, or check=Fal"):
        tt.scan(model, X)
    assert all(state is None for layer in model.modules() if isinstance(layer, tt.Layer)
               for state in layer.carried_states().values())
    assert getattr(model, "last", None) is None
    tt.scan(model, X, fold=False)
    tt.zero_states(model)
    tt.scan(model, X, check=False)


QUIET = {
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), tt.snn.LIB(4)),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), tt.snn.LIB(4)),
    "own noise": lambda: Of(lambda y: y + torch.rand_like(y)), "a look at the output": Counts,
    "hard spikes": lambda: nn.Sequential(nn.Linear(4, 4), tt.snn.LIB(4, quant_fn=tt.functional.round_ste())),
    "layer norm": lambda: nn.Sequential(nn.LayerNorm(4), tt.snn.DSRLITS(4)),
    "a step that can't be copied": lambda: Of(next(iter([lambda y, _=(i for i in ()): y]))),
}


@pytest.mark.parametrize("name", QUIET)
def test_no_false_alarm(name):
    model = QUIET[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tt.scan(model, X)
        tt.scan(model, X[:, :2].clone()) if tt.zero_states(model) is None else None


def test_random_numbers_and_running_statistics_are_not_touched():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), tt.snn.LIB(4))
    torch.manual_seed(3)
    first = tt.scan(model, X)
    mean = model[1].running_mean.clone()
    tt.zero_states(model)
    model[1].reset_running_stats()
    torch.manual_seed(3)
    assert torch.equal(tt.scan(model, X), first) and torch.equal(model[1].running_mean, mean)


def test_a_model_too_large_to_be_tried_warns_of_what_it_assigns():
    model = Feedback(2000)
    with pytest.warns(UserWarning, match="tt.scan: Feedback.last was assigned while time was folded"):
        tt.scan(model, torch.rand(3, 2, 2000))


def test_a_wrapped_module_is_looked_at_inside():
    model = nn.DataParallel(Feedback())
    with pytest.raises(ValueError, match="Feedback mixes its batch or carries something"):
        tt.scan(model, X)

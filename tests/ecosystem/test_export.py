"""torch.export: one step with explicit states, and a whole scan."""

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.exported import OneStep, check_exported_step


class Scanned(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return tt.scan(self.model, x)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    layer = tt.snn.DSRLITS(5, pos_beta=torch.rand(5), pos_rec_weight=0.4)
    return nn.Sequential(nn.Linear(3, 5), layer, nn.Linear(5, 2))


def test_exported_step_takes_and_returns_states():
    layer = tt.snn.SLIT(4)
    check_exported_step(layer, torch.randn(6, 3, 4), layer.pipeline.states)


def test_exported_scan_gives_the_numbers_of_the_scan_and_leaves_the_model_alone(model, tmp_path):
    x = torch.randn(7, 2, 3)
    tt.zero_states(model)
    program = torch.export.export(Scanned(model), (x,))
    assert tt.save_states(model) == {}
    torch.export.save(program, tmp_path / "scan.pt2")
    loaded = torch.export.load(tmp_path / "scan.pt2").module()
    want = tt.scan(model, x, backend="eager")
    assert torch.equal(loaded(x), want)
    assert torch.equal(loaded(x), want), "an exported scan starts anew at each call"


def test_exported_step_draws_on_from_step_to_step():
    layer = tt.snn.SLIT(4, quant_fn=tt.functional.stochastic_round_ste(1.0))
    x = 2 * torch.randn(6, 3, 4)
    torch.manual_seed(3)
    states = layer.initial_states(x[0])
    program = torch.export.export(OneStep(layer), (x[0], states)).module()
    torch.manual_seed(3)
    want = tt.scan(layer, x, backend="eager")
    got = []
    for x_t in x:
        y, states = program(x_t, states)
        got.append(y)
    assert torch.equal(torch.stack(got), want)
    assert states["rng"].tolist() == [layer.rng[0].item(), 6] and len(want.unique()) > 1

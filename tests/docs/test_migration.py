"""The rows of the migration page for Tether, which is not on PyPI: recorded numbers of its own kernels."""

import numpy as np
import pytest
import torch

import tracetorch as tt
from tests.support.golden import ROOT

RECORDED = np.load(ROOT / "surrogates_lif.npz")
F = tt.functional
RUN = "T64S5"
SURROGATES = {0: F.Arctan, 1: F.Sigmoid, 2: F.FastSigmoid}


def recorded(*path):
    return torch.from_numpy(RECORDED["/".join(("tether", RUN, *path))])


def slope(kind):
    return kind(2.0, learn_alpha=False)


LAYERS = {
    **{f"lif/{i}": lambda kind=kind: tt.snn.LIF(5, beta=0.87, threshold=0.9, spike_fn=slope(kind))
       for i, kind in SURROGATES.items()},
    **{f"plif/{i}": lambda kind=kind, i=i: tt.snn.PLIF(
        5, beta=recorded(f"plif/{i}", "decay"), threshold=recorded(f"plif/{i}", "threshold"),
        spike_fn=kind(recorded(f"plif/{i}", "alpha"), learn_alpha=False)) for i, kind in SURROGATES.items()},
    "alif": lambda: tt.snn.ALIF(5, beta=0.85, rho=0.9, threshold=0.8, kappa=0.4, spike_fn=slope(F.Arctan)),
}


@pytest.mark.parametrize("case", LAYERS)
def test_tether(case, backend):
    layer, x = LAYERS[case](), recorded("x").requires_grad_()
    layer.load_states({"mem": recorded("v0")} | ({"adapt": recorded("a0")} if case == "alif" else {}))
    with tt.backend(backend):
        y, recordings = tt.scan(layer, x, record="potential")
    (slopes,) = torch.autograd.grad((y * recorded("w")).sum(), x)
    assert torch.equal(y, recorded(case, "y")) and y.sum() > 5
    for got, want in ((slopes, recorded(case, "gx")), (recordings["potential"], recorded(case, "v_seq"))):
        assert (got - want).abs().max() <= 1e-4 * want.abs().max()

"""Devices for which no kernels are made, faked: there is neither an Apple GPU nor anything else at hand."""

import warnings

import pytest
import torch

import tracetorch as tt
from tracetorch.backends import choose, plan


@pytest.fixture
def nothing_fuses(monkeypatch):
    """The CPU is a device like MPS."""
    monkeypatch.setattr(choose, "FUSED", {"cuda": "triton"})
    monkeypatch.setattr(plan, "_warned", set())


def test_other_devices_run_in_eager_with_one_warning(nothing_fuses):
    x, layers = torch.rand(6, 2, 4), [tt.snn.LIB(4), tt.snn.SLIT(4)]
    text = "Every layer on cpu is scanned step by step in Python: kernels are made for the CPU and for CUDA alone"
    with pytest.warns(UserWarning, match=text) as caught:
        found = [tt.scan(layer, x) for layer in layers]
        found[0].sum().backward()
        layers[0](x[0])
    assert len(caught) == 1 and caught[0].filename == __file__
    for layer, y in zip(layers, found, strict=True):
        layer.zero_states()
        assert torch.equal(y, tt.scan(layer, x, backend="eager"))


def test_asking_for_eager_or_for_shapes_alone_warns_of_nothing(nothing_fuses):
    with warnings.catch_warnings(), tt.backend("eager"):
        warnings.simplefilter("error")
        tt.scan(tt.snn.LIB(4), torch.rand(6, 2, 4))
    tt.scan(tt.snn.LIB(4, device="meta"), torch.rand(6, 2, 4, device="meta"))


def test_a_device_without_float64(monkeypatch):
    """As on MPS: values are checked and inverted on the CPU."""
    real, asked = torch.Tensor.double, []

    def double(self):
        asked.append(self)
        if len(asked) % 2:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        return real(self)

    monkeypatch.setattr(torch.Tensor, "double", double)
    layer = tt.snn.LIB(4, beta=0.75)
    layer.beta = 0.5
    monkeypatch.undo()
    assert len(asked) >= 4 and layer.raw_beta.dtype is torch.float32
    torch.testing.assert_close(layer.beta.detach(), torch.full((4,), 0.5))

"""Kernels: memory that one has to fill starts as NaN, so that a forgotten store shows."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _nan_filled(request, device, monkeypatch):
    if "triton" in request.keywords or "gpu" in request.keywords:
        from tracetorch.backends.triton import launch

        def filled(shape, dtype, device):
            return torch.full(shape, float("nan"), dtype=dtype, device=device)

        monkeypatch.setattr(launch, "new", filled)

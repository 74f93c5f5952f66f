"""Triton tests: memory that a kernel has to fill starts as NaN, so that a forgotten store shows."""

import os

import pytest
import torch

FULL = os.environ.get("TRACETORCH_TESTS") == "all"
"""Set TRACETORCH_TESTS=all for every recorded case and every class; without it a subset that represents them."""


@pytest.fixture(autouse=True)
def _nan_filled(request, monkeypatch):
    if "triton" in request.keywords:
        from tracetorch.backends.triton import launch

        monkeypatch.setattr(launch, "new", lambda shape, dtype, device: torch.full(shape, float("nan"), dtype=dtype))


@pytest.fixture
def derived_only(monkeypatch):
    """Every step runs on its derived kernel, though it may have hand-written stages."""
    from tracetorch.backends.triton import backend

    monkeypatch.setattr(backend, "handwritten", lambda step: None)

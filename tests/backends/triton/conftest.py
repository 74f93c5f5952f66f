"""Triton tests: how many of them run, and on which kernels."""

import os

import pytest

FULL = os.environ.get("TRACETORCH_TESTS") == "all"
"""Set TRACETORCH_TESTS=all for every recorded case and every class; without it a subset that represents them."""


@pytest.fixture
def seldom_saved(monkeypatch):
    """Forward saves the states of every segment's first row only, as where lanes are many."""
    from tracetorch.backends.triton import launch

    monkeypatch.setattr(launch, "DENSE_LANES", 0)


@pytest.fixture
def derived_only(monkeypatch):
    """Every step runs on its derived kernel, though it may have hand-written stages."""
    from tracetorch.backends.triton import backend

    monkeypatch.setattr(backend, "handwritten", lambda step: None)

"""Fixtures for every test: a fixed seed, the compute dtypes, the backends that a scan must agree on."""

import pytest
import torch

BACKENDS = ["eager", "cpp"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(params=BACKENDS)
def backend(request) -> str:
    """Each backend that runs on this machine without a GPU; `with tt.backend(backend):`."""
    return request.param


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request) -> torch.dtype:
    return request.param

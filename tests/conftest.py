"""Fixtures for every test: a fixed seed, a device, the compute dtypes, the backends that a scan must agree on."""

import os

import pytest
import torch

BACKENDS = ["eager", "cpp"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def device(request):
    """The device of a test. Where a test is marked triton, new tensors are made there.

    A test marked triton runs in Triton's interpreter or on a GPU, one marked gpu on a GPU; else they are skipped.
    """
    marked = {mark for mark in ("triton", "gpu") if request.node.get_closest_marker(mark)}
    if not marked or ("triton" in marked and os.environ.get("TRITON_INTERPRET") == "1"):
        yield torch.device("cpu")
        return
    if not torch.cuda.is_available():
        also = ", or Triton's interpreter (TRITON_INTERPRET=1)" if "triton" in marked else ""
        pytest.skip(f"needs a CUDA device{also}")
    with torch.device("cuda" if "triton" in marked else "cpu"):
        yield torch.device("cuda")


@pytest.fixture
def interpreted():
    """Of a test that presumes Triton's interpreter."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("presumes Triton's interpreter (TRITON_INTERPRET=1)")


@pytest.fixture(params=BACKENDS)
def backend(request) -> str:
    """Each backend that runs on this machine without a GPU; `with tt.backend(backend):`."""
    return request.param


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request) -> torch.dtype:
    return request.param

"""Nothing is compiled anew for another length, batch or offset: every call after the first finds its kernels."""

import pytest
import torch

import tracetorch as tt

triton = pytest.importorskip("triton", reason="Triton is an optional extra")


@pytest.fixture
def compiled(monkeypatch):
    """How many kernels of either direction there are, with a driver that launches nothing."""
    if triton.knobs.runtime.interpret:
        pytest.skip("TRITON_INTERPRET is set, and Triton compiles nothing")
    from benchmarks import stub
    from tracetorch.backends.triton.loops import scan_backward, scan_forward

    monkeypatch.setattr(stub, "PROCESSORS", 2)      # busy with 2,048 lanes
    with stub.no_card():
        yield lambda: [len(cached[0]) for kernel in (scan_forward, scan_backward)
                       for cached in kernel.device_caches.values()]


def scan(layer, x):
    layer.zero_states()
    leaf = x.detach().requires_grad_()
    tt.scan(layer, leaf, backend="triton").backward(torch.empty_like(x))


def test_for_other_lengths_and_batches(compiled):
    layer = tt.snn.LIB(64)
    scan(layer, torch.empty(20, 320, 64))
    before = compiled()
    for T, B in ((21, 300), (8, 301), (9, 384), (100, 257), (16, 512)):     # rows in turn: whole groups, and a part
        scan(layer, torch.empty(T, B, 64))
        assert compiled() == before


def test_for_slices_that_begin_anywhere(compiled):
    layer = tt.snn.LIB(17)
    scan(layer, torch.empty(20, 151, 17))
    before = compiled()
    for B in (151, 160, 240):
        for begin in (0, 1, 2):
            scan(layer, torch.empty(20, B, 17)[begin:])
            assert compiled() == before

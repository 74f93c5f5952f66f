"""A bound call is short: Python frames are counted, which are the same on every machine, unlike times."""

import sys

import pytest
import torch

import tracetorch as tt

MOST = {"step": 56, "scan": 58, "scan and backward": 156}


def frames(call):
    """Return how many Python functions a call enters."""
    count = 0

    def profile(frame, event, arg):
        nonlocal count
        count += event == "call"
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("cls", [tt.snn.LIB, tt.snn.DSRLITS], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("what", MOST)
def test_frames_of_a_bound_call(cls, what):
    layer, x = cls(8), torch.rand(3, 2, 8)

    def call():
        if what == "scan and backward":
            layer.zero_states()
            tt.scan(layer, x).sum().backward()
        else:
            with torch.no_grad():
                layer(x[0]) if what == "step" else tt.scan(layer, x)

    for _ in range(3):      # bound, states in use
        call()
    assert frames(call) <= MOST[what]

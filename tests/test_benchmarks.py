"""The GPU benchmark's rows: what is written for what was timed, and for what did not run."""

import torch

from benchmarks.gpu import TARGETS, rows_of


def test_gpu_rows(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    size, times = (100, 256, 4096), {
        ("copy", "forward", "events"): [0.3, 0.4, 0.5],         # ms for two passes over 419 MB
        ("LIB scan", "both", "graph"): [1.25, 1.0, 1.5],
        ("LIB scan", "both", "host"): [0.2, 0.2, 0.2],
    }  # fmt: skip
    copy, kernels, host, missing = rows_of(times, {"SpikingJelly LIF triton": "ModuleNotFoundError: no"}, size,
                                           torch.float32)
    assert copy["note"] == "2097 GB/s" and copy["of_copy"] == "1.000"
    assert kernels["median"] == "1.25000" and kernels["of_copy"] == "0.800"     # five passes of 0.2 ms
    assert kernels["target"] == TARGETS["LIB scan", "both", "100x256x4096"]
    assert "of_copy" not in host and "target" not in host
    assert missing["contestant"] == "SpikingJelly LIF triton" and missing["what"] == "did not run"
    assert missing["note"] == "ModuleNotFoundError: no"

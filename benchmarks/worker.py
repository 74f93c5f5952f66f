"""A process that holds one contestant and times it when asked, so that several can take turns.

    python worker.py CONTESTANT T B N THREADS

For each line `forward N` or `both N` on its standard input it prints the times of N calls in ms, for `first` what
the first call took in s, and for `memory` how far one more forward and backward raises the peak over the input, in MB.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import time
from pathlib import Path

import torch
from contestants import CONTESTANTS, WITH_FEEDBACK


def main(name: str, t: int, b: int, n: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    run = (CONTESTANTS | WITH_FEEDBACK)[name](n)
    x = torch.randn(t, b, n)
    g = torch.randn(t, b, n)

    def forward() -> None:
        with torch.no_grad():
            run(x)

    def both() -> None:
        leaf = x.detach().requires_grad_()
        run(leaf).backward(g)

    calls = {"forward": forward, "both": both}
    for line in sys.stdin:
        what, *count = line.split()
        if what == "memory":
            answer: object = peak_mb(both)
        elif what == "first":
            answer = timed(both, 1)[0] / 1000
        else:
            answer = timed(calls[what], int(count[0]))
        print(json.dumps(answer), flush=True)


def timed(call, count: int) -> list[float]:
    """Return the time of each of `count` calls in ms."""
    out = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        out.append((time.perf_counter() - start) * 1000)
    return out


def peak_mb(call) -> float:
    """Return how far a call raises the resident size of the process above what it holds before, in MB."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")       # resets the high-water mark
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    call()
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return (max(peak, resource.getpagesize()) - before) / 2**20


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))

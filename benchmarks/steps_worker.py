"""A process that steps one contestant, one call per time step; see worker.py for what it is asked.

    python steps_worker.py CONTESTANT STEPS B N THREADS
"""

from __future__ import annotations

import json
import sys
import time

import torch
from contestants import STEPPED
from worker import peak_mb


def main(name: str, steps: int, b: int, n: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    step, reset, parameters = STEPPED[name](n)
    x = torch.rand(b, n)

    def forward() -> None:
        with torch.no_grad():
            for _ in range(steps):
                step(x)

    def both() -> None:
        reset()
        for p in parameters:
            p.grad = None
        total = step(x).sum()
        for _ in range(steps - 1):
            total = total + step(x).sum()
        total.backward()
        reset()

    calls = {"forward": forward, "both": both}
    for line in sys.stdin:
        what, *count = line.split()
        if what == "memory":
            answer: object = peak_mb(both)
        elif what == "first":
            answer = sum(per_step(both, 1, 1)) / 1000
        else:
            reset()
            answer = per_step(calls[what], int(count[0]), steps)
            reset()
        print(json.dumps(answer), flush=True)


def per_step(call, count: int, steps: int) -> list[float]:
    """Return the time of a step in each of `count` calls of so many steps, in ms."""
    out = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        out.append((time.perf_counter() - start) * 1000 / steps)
    return out


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))

"""Measure one time step per call: closed loops, reinforcement learning, devices.

    python -m benchmarks.steps [--rounds 9] [--threads 2]

Contestants take turns, each in a process of its own. Appends to benchmarks/results/steps.csv, and writes steps.md.
"""

from __future__ import annotations

import argparse
import statistics

import torch

from .contestants import STEPPED
from .measure import RESULTS, Contestant, prepare_reference, write

SIZES = ((1, 128), (8, 128), (64, 128), (64, 256), (64, 1024), (64, 16384))     # [B, N]
STEPS = 20      # of a training step


def measure(size: tuple[int, int], rounds: int, threads: int) -> list[Contestant]:
    """Let contestants take turns at one size; times are per step, in ms."""
    group = [Contestant(name, (STEPS, *size), threads, "steps_worker.py") for name in STEPPED]
    counts = [max(1, one.warm_up() // STEPS) for one in group]
    for _ in range(rounds):
        for one, calls in zip(group, counts, strict=True):
            one.measure(calls)
    for one in group:
        one.close()
    return group


def table(groups: list[list[Contestant]], sizes: list[tuple[int, int]]) -> str:
    """Return microseconds per step, without gradient / training, as a Markdown table."""
    shown = [f"{b}, {n}" for b, n in sizes[: len(groups)]]
    lines = ["| us per step, no gradient / training | " + " | ".join(shown) + " |", "|---|" + "---|" * len(shown)]
    for i, name in enumerate(STEPPED):
        cells = [" / ".join(f"{1000 * statistics.median(v):.3g}" for v in group[i].times.values()) for group in groups]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", nargs="+", type=lambda s: tuple(map(int, s.split(","))), default=list(SIZES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    prepare_reference()
    groups = []
    for size in args.sizes:
        groups.append(measure(size, args.rounds, args.threads))
        write(RESULTS / "steps.csv", groups[-1], args.threads)
        print(table(groups, args.sizes), flush=True)
    if len(groups) == len(SIZES):
        (RESULTS / "steps.md").write_text(table(groups, args.sizes))


if __name__ == "__main__":
    main()

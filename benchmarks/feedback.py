"""Measure recurrent layers: ours, the parts it is made of, the same by hand, and the other libraries.

    python -m benchmarks.feedback [--rounds 9] [--threads 2]

Contestants take turns, each in a process of its own. Appends to benchmarks/results/feedback.csv, and writes
feedback.md. "torch products" is what three matrix products of the same size take: with "tracetorch LIB" what nothing
can beat.
"""

from __future__ import annotations

import argparse

import torch

from .__main__ import table
from .contestants import WITH_FEEDBACK
from .measure import RESULTS, Contestant, measure, write

SIZES = ((100, 64, 256), (100, 8, 256), (1000, 8, 128), (100, 1, 1024), (50, 64, 512))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--sizes", nargs="+", type=lambda s: tuple(map(int, s.split(","))), default=list(SIZES))
    args = parser.parse_args()
    results: list[Contestant] = []
    for size in args.sizes:
        group = measure(size, list(WITH_FEEDBACK), args.rounds, args.threads)
        write(RESULTS / "feedback.csv", group, args.threads)
        results += group
    print(table(results))
    if args.sizes == list(SIZES):
        (RESULTS / "feedback.md").write_text(table(results))


if __name__ == "__main__":
    main()

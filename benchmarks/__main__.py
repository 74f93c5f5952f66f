"""Measure stepping, scanning and the best other libraries on the CPU, interleaved in one run.

    python -m benchmarks [--rounds 7] [--only "tracetorch LIB" ...] [--no-compile]

Appends to benchmarks/results/cpu.csv, and writes cpu.md (the table README quotes) and cpu.png (cost against T, B, N).
"""

from __future__ import annotations

import argparse
import statistics

import torch

from .contestants import CONTESTANTS
from .measure import RESULTS, Contestant, measure, prepare_reference, write

SIZES = ((25, 128, 128), (100, 64, 256), (1000, 8, 128), (4, 64, 65536))


def table(results: list[Contestant]) -> str:
    """Return the medians as a Markdown table: forward / forward and backward in ms."""
    sizes = list(dict.fromkeys(one.size for one in results))
    found = {(one.name, one.size): one for one in results}
    lines = ["| forward / forward+backward, ms | " + " | ".join(f"{t}, {b}, {n}" for t, b, n in sizes) + " |",
             "|---|" + "---|" * len(sizes)]
    for name in dict.fromkeys(one.name for one in results):
        cells = []
        for size in sizes:
            one = found.get((name, size))
            medians = [] if one is None else [f"{statistics.median(v):.3g}" for v in one.times.values()]
            cells.append(" / ".join(medians) or "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="+", help="contestants, by name")
    parser.add_argument("--sizes", nargs="+", type=lambda s: tuple(map(int, s.split(","))), default=list(SIZES))
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    parser.add_argument("--no-plot", action="store_true", help="leave out the picture of cost against T, B and N")
    args = parser.parse_args()
    names = [n for n in CONTESTANTS if (not args.only or n in args.only) and not (args.no_compile and "compile" in n)]
    if any("0.19" in name for name in names):
        prepare_reference()
    RESULTS.mkdir(exist_ok=True)
    results: list[Contestant] = []
    for size in args.sizes:
        group = measure(size, names, args.rounds, args.threads)
        write(RESULTS / "cpu.csv", group, args.threads)
        results += group
    if not args.only:
        (RESULTS / "cpu.md").write_text(table(results))
    print(table(results))
    if not args.no_plot:
        from .curves import draw
        draw(RESULTS / "cpu.png", args.threads)


if __name__ == "__main__":
    main()

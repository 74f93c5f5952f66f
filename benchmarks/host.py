"""Measure what the host does for a scan on a GPU, with a driver that launches nothing; no GPU is needed.

    python -m benchmarks.host [--rounds 15]

Appends to benchmarks/results/host.csv: the median of all rounds in microseconds of processor time, and the least.
Kernels of (25, 128, 128) take some ten microseconds on an H100, so beyond the budget it is the host that is waited for.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import tracetorch as tt

from .measure import append
from .stub import no_card

RESULTS = Path(__file__).parent / "results" / "host.csv"
SIZE = (25, 128, 128)
BUDGET = {("LIB", "forward"): 60, ("LIB", "both"): 200, ("DSRLITS", "forward"): 90, ("DSRLITS", "both"): 300}
CALLS = 200
FIELDS = ("date", "torch", "triton", "version", "neuron", "what", "median", "low", "unit", "budget", "rounds")


def calls_of(name: str) -> dict[str, Callable[[], None]]:
    """A scan alone, and one with its backward."""
    layer = getattr(tt.snn, name)(SIZE[2])
    x, g = torch.randn(SIZE), torch.randn(SIZE)
    leaf = x.clone().requires_grad_()

    def forward() -> None:
        layer.zero_states()
        with torch.no_grad():
            tt.scan(layer, x, backend="triton")

    def both() -> None:
        layer.zero_states()
        leaf.grad = None
        tt.scan(layer, leaf, backend="triton").backward(g)

    return {"forward": forward, "both": both}


def timed(call: Callable[[], None]) -> float:
    """Microseconds of one call, averaged over CALLS."""
    start = time.process_time_ns()
    for _ in range(CALLS):
        call()
    return (time.process_time_ns() - start) / CALLS / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each call")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with no_card():
        calls = {(name, what): call for name in ("LIB", "DSRLITS") for what, call in calls_of(name).items()}
        for call in calls.values():
            call()
        times = [{key: timed(call) for key, call in calls.items()} for _ in range(given.rounds)]
    rows = []
    for (name, what), budget in BUDGET.items():
        of = [t[name, what] for t in times]
        rows.append({
            "date": datetime.date.today().isoformat(), "torch": torch.__version__,
            "triton": importlib.metadata.version("triton"), "version": tt.__version__, "neuron": name, "what": what,
            "median": f"{statistics.median(of):.1f}", "low": f"{min(of):.1f}", "unit": "us", "budget": budget,
            "rounds": given.rounds,
        })
        print(f"{name} {what}: {statistics.median(of):.0f} us (least {min(of):.0f}), budget {budget}")
    append(RESULTS, FIELDS, rows)


if __name__ == "__main__":
    main()

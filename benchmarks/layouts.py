"""What it costs to read an input as it lies instead of copying it first: python -m benchmarks.layouts

Layers of one kind, forward alone and with backward, on inputs that are not contiguous with time first. The contestant
"copied" calls `.contiguous()` with time first, and puts the output back to where a next module wants it. On one thread;
`measure.WARM` in the environment keeps what freed memory costs out of it.
"""

import csv
import datetime
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import tracetorch as tt

from .measure import RESULTS, device

ROUNDS = 41
LAYOUTS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    # the sizes in memory; the dimensions that are time, batch, ...; where the neurons are in a step
    "[B, T, N] 1000 neurons": ((32, 100, 1000), (1, 0, 2), -1),
    "[B, T, N] 100 neurons": ((64, 100, 100), (1, 0, 2), -1),
    "[B, T, N] 10 neurons": ((256, 100, 10), (1, 0, 2), -1),
    "[B, N, T] time last": ((32, 100, 100), (2, 0, 1), -1),
    "[B, T, C, H, W]": ((8, 20, 64, 16, 16), (1, 0, 2, 3, 4), -3),
    "[T, B, H, W, C] channels last": ((20, 8, 16, 16, 64), (0, 1, 4, 2, 3), -3),
}
FIELDS = ("date", "device", "threads", "torch", "version", "layout", "contestant", "what", "median", "low", "high",
          "unit", "rounds")


def calls_of(name: str) -> dict[tuple[str, str], Callable[[], None]]:
    """Both contestants, forward and both ways, on inputs of one layout."""
    sizes, order, dim = LAYOUTS[name]
    back = [order.index(d) for d in range(len(order))]
    x = torch.rand(sizes).permute(order)
    leaf, g = torch.rand(sizes).permute(order).requires_grad_(), torch.rand(sizes).permute(order)
    layer = tt.snn.LIB(x.shape[1:][dim], dim=dim)

    def as_it_lies(x: Tensor) -> Tensor:
        return tt.scan(layer, x)

    def copied(x: Tensor) -> Tensor:
        return tt.scan(layer, x.contiguous()).permute(back).contiguous().permute(order)

    def forward(scan: Callable[[Tensor], Tensor]) -> None:
        layer.zero_states()
        with torch.no_grad():
            scan(x)

    def both(scan: Callable[[Tensor], Tensor]) -> None:
        layer.zero_states()
        scan(leaf).backward(g)
        leaf.grad = None

    contestants = {"as it lies": as_it_lies, "copied": copied}
    return {(who, run.__name__): lambda run=run, scan=scan: run(scan)
            for who, scan in contestants.items() for run in (forward, both)}


def main() -> None:
    torch.set_num_threads(1)
    base = {"date": datetime.date.today().isoformat(), "device": device(), "threads": torch.get_num_threads(),
            "torch": torch.__version__, "version": tt.__version__, "unit": "ms", "rounds": ROUNDS}
    path = RESULTS / "layouts.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for name in LAYOUTS:
            times: dict[tuple[str, str], list[float]] = {}
            calls = calls_of(name)
            for round in range(ROUNDS + 2):     # two to warm up
                for key, call in calls.items():
                    start = time.perf_counter()
                    call()
                    if round > 1:
                        times.setdefault(key, []).append(1000 * (time.perf_counter() - start))
            for (who, what), found in times.items():
                low, median, high = statistics.quantiles(found, n=4)
                writer.writerow({**base, "layout": name, "contestant": who, "what": what, "median": f"{median:.3f}",
                                 "low": f"{low:.3f}", "high": f"{high:.3f}"})
                print(f"{name:32s} {who:12s} {what:8s} {median:8.3f} ms ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()

"""Measure scans on a GPU against its copy bandwidth, eager steps, torch.compile and SpikingJelly, in turns.

    python -m benchmarks.gpu [--rounds 15] [--only "LIB scan" ...] [--no-compile] [--check]

Appends to benchmarks/results/gpu.csv: rows per contestant, size, dtype and direction, with the median of all calls,
the spread, and the share of the copy bandwidth that is reached when forward is counted as two passes over the input's
bytes (read x, write y) and forward with backward as five (and read x, gy, write gx). `clock` says what was timed:

    graph   the device's clock, around a CUDA graph that is replayed: the kernels alone
    events  the device's clock, around calls in a row: what is longer, the kernels or the host's work on them
    host    the host's clock, until a call returns while the device is kept busy: the host's work alone

A contestant that did not run has one row, whose note says why. The note of "copy" is the bandwidth in GB/s.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib.metadata
import inspect
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import tracetorch as tt

from .measure import append

RESULTS = Path(__file__).parent / "results" / "gpu.csv"
SIZES = ((100, 256, 4096), (100, 64, 1024), (1000, 8, 128), (25, 128, 128), (4, 64, 65536), (16, 32, 64, 64, 64))
TARGETS = {
    ("LIB scan", "forward", "100x256x4096"): "0.75 of copy", ("LIB scan", "both", "100x256x4096"): "0.75 of copy",
    ("DSRLITS scan", "forward", "100x256x4096"): "0.50 of copy",
    ("DSRLITS scan", "both", "100x256x4096"): "0.50 of copy",
    ("LIB scan", "both", "1000x8x128"): "200 us",
}  # fmt: skip
"""What the kernels of float32 scans are to reach; and to be ahead of SpikingJelly where there are 16 steps or more."""
DTYPES = (torch.float32, torch.bfloat16)
PASSES = {"forward": 2, "both": 5}
UNROLLED = 32       # torch.compile unrolls the steps, and more than this many take it minutes
CALLS = 5           # timed together, so that launches overlap as in training
SLEEP = 20_000_000  # cycles for which the device is kept busy while the host is timed
FIELDS = ("date", "device", "torch", "triton", "contestant", "version", "size", "dtype", "what", "clock", "median",
          "low", "high", "unit", "calls", "of_copy", "target", "note")
SHOWN = ("size", "dtype", "contestant", "what", "clock", "median", "unit", "of_copy", "target", "note")
Run = Callable[[Tensor], Tensor]


def scanned(name: str, backend: str) -> Callable[[tuple, torch.dtype], Run]:
    """One of our classes over the whole sequence."""
    def build(size: tuple, dtype: torch.dtype) -> Run:
        layer = _layer(name, size, dtype)

        def run(x: Tensor) -> Tensor:
            layer.zero_states()
            return tt.scan(layer, x, backend=backend)
        return run
    return build


def compiled(name: str) -> Callable[[tuple, torch.dtype], Run]:
    """One of our classes stepped in plain PyTorch, all steps compiled into one graph."""
    def build(size: tuple, dtype: torch.dtype) -> Run:
        if size[0] > UNROLLED:
            raise NotImplementedError(f"unrolling {size[0]} steps takes minutes to compile")
        return torch.compile(scanned(name, "eager")(size, dtype), fullgraph=True)
    return build


def spikingjelly(size: tuple, dtype: torch.dtype) -> Run:
    """SpikingJelly's LIF neuron over the whole sequence, in its Triton kernels; it learns no parameter."""
    os.environ["SJ_LIF_CUDA_IMPLEMENTATION"] = "triton"     # version 2 reads it when imported
    from spikingjelly.activation_based import functional, neuron

    by_name = "backend" in inspect.signature(neuron.LIFNode.__init__).parameters
    node = neuron.LIFNode(step_mode="m", **({"backend": "triton"} if by_name else {})).cuda()

    def run(x: Tensor) -> Tensor:
        functional.reset_net(node)
        return node(x)
    return run


def _layer(name: str, size: tuple, dtype: torch.dtype) -> nn.Module:
    maps = len(size) > 3
    layer = getattr(tt.snn, name)(size[2], dim=-3 if maps else -1)
    return layer.to("cuda", dtype)


CONTESTANTS = {
    "LIB scan": scanned("LIB", "triton"),
    "LIF scan": scanned("LIF", "triton"),
    "DSRLITS scan": scanned("DSRLITS", "triton"),
    "LIB eager": scanned("LIB", "eager"),
    "DSRLITS eager": scanned("DSRLITS", "eager"),
    "LIB torch.compile": compiled("LIB"),
    "SpikingJelly LIF triton": spikingjelly,
}


def copy(x: Tensor) -> Tensor:
    return x.clone()


def calls_of(run: Run, x: Tensor, g: Tensor) -> dict[str, Callable[[], None]]:
    """What is timed: the scan alone, and the scan with the gradients of its input and parameters."""
    leaf = x.detach().requires_grad_()

    def forward() -> None:
        with torch.no_grad():
            run(x)

    def both() -> None:
        leaf.grad = None
        run(leaf).backward(g)

    return {"forward": forward, "both": both}


def captured(call: Callable[[], None]) -> Callable[[], None]:
    """The same work as a CUDA graph that is replayed."""
    side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def timed(call: Callable[[], None]) -> float:
    """The time of one call in ms, averaged over CALLS in a row, by the device's clock."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(CALLS):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / CALLS


def hosted(call: Callable[[], None]) -> float:
    """The time in ms until a call returns, averaged over CALLS in a row while the device is busy elsewhere."""
    torch.cuda.synchronize()
    torch.cuda._sleep(SLEEP)
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    took = time.perf_counter() - start
    torch.cuda.synchronize()
    return took * 1e3 / CALLS


Turn = tuple[str, str, str]


def turns_of(name: str, size: tuple, dtype: torch.dtype, x: Tensor, g: Tensor) -> dict[Turn, Callable[[], float]]:
    """Every timing of one contestant: name, what and clock; raises whatever keeps it from running."""
    turns: dict[Turn, Callable[[], float]] = {}
    calls = calls_of(CONTESTANTS[name](size, dtype), x, g)
    calls["both"]()
    torch.cuda.synchronize()
    for what, call in calls.items():
        if "eager" not in name and "compile" not in name:
            turns[name, what, "graph"] = functools.partial(timed, captured(call))
        turns[name, what, "events"] = functools.partial(timed, call)
        turns[name, what, "host"] = functools.partial(hosted, call)
    return turns


def measure(size: tuple, dtype: torch.dtype, names: list[str], rounds: int,
            ) -> tuple[dict[Turn, list[float]], dict[str, str]]:
    """Let contestants take turns; the first two rounds warm up and are not counted.

    Returns the times in ms, and why which contestant did not run.
    """
    torch.manual_seed(0)
    x, g = (torch.randn(size, device="cuda", dtype=dtype) for _ in range(2))
    turns: dict[Turn, Callable[[], float]] = {("copy", "forward", "events"): lambda: timed(lambda: copy(x))}
    left_out = {}
    for name in names:
        try:
            turns |= turns_of(name, size, dtype, x, g)
        except Exception as error:
            left_out[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    times: dict[Turn, list[float]] = {turn: [] for turn in turns}
    for i in range(rounds + 2):
        for turn, run in turns.items():
            took = run()
            if i >= 2:
                times[turn].append(took)
    return times, left_out


def rows_of(times: dict[Turn, list[float]], left_out: dict[str, str], size: tuple, dtype: torch.dtype) -> list[dict]:
    """One row per timing and per contestant that did not run."""
    copied = statistics.median(times["copy", "forward", "events"])
    common = {
        "date": datetime.date.today().isoformat(), "device": torch.cuda.get_device_name(), "torch": torch.__version__,
        "triton": importlib.metadata.version("triton"), "size": label(size), "dtype": str(dtype).removeprefix("torch."),
    }  # fmt: skip
    rows = []
    for (name, what, clock), values in times.items():
        median = statistics.median(values)
        row = common | {"contestant": name, "version": _version(name), "what": what, "clock": clock,
                        "median": f"{median:.5f}", "low": f"{min(values):.5f}", "high": f"{max(values):.5f}",
                        "unit": "ms", "calls": len(values) * CALLS}
        if clock != "host":
            row["of_copy"] = f"{PASSES[what] * copied / PASSES['forward'] / median:.3f}"
        if clock == "graph" and dtype is torch.float32:
            row["target"] = TARGETS.get((name, what, label(size)), "")
        if name == "copy":
            row["note"] = f"{PASSES[what] * math.prod(size) * dtype.itemsize / median / 1e6:.0f} GB/s"
        rows.append(row)
    return rows + [common | {"contestant": name, "what": "did not run", "note": why} for name, why in left_out.items()]


def _version(name: str) -> str:
    if name.startswith("SpikingJelly"):
        return importlib.metadata.version("spikingjelly")
    return torch.__version__ if name == "copy" else tt.__version__


def label(size: tuple) -> str:
    return "x".join(map(str, size))


def check(size: tuple, dtype: torch.dtype) -> None:
    """A speed of wrong numbers is none: the fused scan against eager steps, on a part of the batch."""
    size = (size[0], min(size[1], 2), *size[2:])
    x = torch.randn(size, device="cuda", dtype=dtype)
    for name in ("LIB", "DSRLITS"):
        layer, found = _layer(name, size, dtype), []
        for backend in ("triton", "eager"):
            layer.zero_states()
            leaf = x.detach().requires_grad_()
            y = tt.scan(layer, leaf, backend=backend)
            found.append([y.detach(), *torch.autograd.grad(y.float().square().sum(), [leaf, *layer.parameters()])])
        for got, want in zip(*found, strict=True):
            error = float((got.float() - want.float()).abs().max()) / max(float(want.float().abs().max()), 1e-3)
            if not (error < (1e-3 if dtype is torch.float32 else 0.05)) or math.isnan(error):
                raise AssertionError(f"{name} at {label(size)} {dtype}: the fused scan is off by {error:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contestant")
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--check", action="store_true", help="only compare the numbers with eager's")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks.gpu needs a CUDA device; on the CPU run python -m benchmarks")
    names = [n for n in given.only if not (given.no_compile and "compile" in n)]
    for size in SIZES:
        for dtype in DTYPES:
            check(size, dtype)
            if given.check:
                continue
            rows = rows_of(*measure(size, dtype, names, given.rounds), size, dtype)
            append(RESULTS, FIELDS, rows)
            for row in rows:
                print(*(row[k] for k in SHOWN if row.get(k)), flush=True)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()

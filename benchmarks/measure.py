"""Contestants in processes of their own, which take turns; and the rows that they give."""

from __future__ import annotations

import csv
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

import tracetorch

HERE = Path(__file__).parent
RESULTS = HERE / "results"
REFERENCE = HERE / ".reference"     # traceTorch 0.19.2: its name clashes with ours
UNROLLED = 32       # torch.compile unrolls the steps, and more than this many take it many minutes
WARM = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**28)}
"""Memory that is freed stays with the process: else a call may take longer to page its output in than to compute it."""
FIELDS = ("date", "device", "threads", "torch", "contestant", "version", "T", "B", "N", "what", "median", "low", "high",
          "unit", "calls")


class Contestant:
    """A worker process, and what it has measured."""

    def __init__(self, name: str, size: tuple[int, int, int], threads: int, script: str = "worker.py") -> None:
        self.name, self.size = name, size
        path = REFERENCE if "0.19" in name else HERE.parent
        env = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": str(threads), **WARM}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / script), name, *map(str, size), str(threads)], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.times: dict[str, list[float]] = {"forward": [], "both": []}
        self.first = self.memory = float("nan")

    def ask(self, line: str):
        try:
            print(line, file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, ValueError):
            status = self.process.wait()
            raise RuntimeError(f"{self.name} ended with status {status} at {self.size}: "
                               f"{self.process.stderr.read().strip()[-800:]}") from None

    def warm_up(self) -> int:
        """Make the first calls; return how many calls take about a fifth of a second."""
        self.first = self.ask("first")
        self.ask("forward 1")
        one = min(self.ask("both 3"))
        return max(1, min(200, int(200 / max(one, 0.01))))

    def measure(self, calls: int) -> None:
        for what, times in self.times.items():
            times += self.ask(f"{what} {calls}")

    def close(self) -> None:
        self.memory = self.ask("memory")
        self.process.stdin.close()
        self.process.wait()


def measure(size: tuple[int, int, int], names: list[str], rounds: int, threads: int) -> list[Contestant]:
    """Let contestants take turns at one size."""
    group, counts = [], []
    for name in names:
        if "torch.compile" in name and size[0] > UNROLLED:
            continue
        one = Contestant(name, size, threads)
        try:
            counts.append(one.warm_up())
            group.append(one)
        except RuntimeError as error:
            print(f"left out: {error}", file=sys.stderr)
    for _ in range(rounds):
        for one, calls in zip(group, counts, strict=True):
            one.measure(calls)
    for one in group:
        one.close()
        forward, both = (statistics.median(times) for times in one.times.values())
        print(f"{one.size} {one.name:40s} forward {forward:9.3f} ms   forward+backward {both:9.3f} ms   "
              f"peak {one.memory:8.1f} MB", flush=True)
    return group


def rows(one: Contestant, threads: int) -> list[dict]:
    """Return the CSV rows of one contestant."""
    t, b, n = one.size
    base = dict(date=datetime.date.today().isoformat(), device=device(), threads=threads, torch=torch.__version__,
                contestant=one.name, version=version(one.name), T=t, B=b, N=n)
    out = []
    for what, times in one.times.items():
        low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
        out.append({**base, "what": what, "median": f"{statistics.median(times):.4f}", "low": f"{low:.4f}",
                    "high": f"{high:.4f}", "unit": "ms", "calls": len(times)})
    out.append({**base, "what": "first call", "median": f"{one.first:.3f}", "unit": "s", "calls": 1})
    out.append({**base, "what": "peak memory", "median": f"{one.memory:.2f}", "unit": "MB", "calls": 1})
    return out


def device() -> str:
    """Return the name of the processor."""
    text = Path("/proc/cpuinfo").read_text()
    names = [line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def version(name: str) -> str:
    """Return the version of the library behind a contestant."""
    if "0.19" in name:
        return "0.19.2"
    library = name.split()[0]
    ours = {"torch.sigmoid": torch.__version__, "torch.relu": torch.__version__, "torch": torch.__version__,
            "tracetorch": tracetorch.__version__}
    return ours.get(library) or importlib.metadata.version(library)


def prepare_reference() -> None:
    """Fetch traceTorch 0.19.2 into a folder of its own."""
    if not REFERENCE.exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(REFERENCE),
                        "tracetorch==0.19.2"], check=True)


def write(path: Path, group: list[Contestant], threads: int) -> None:
    """Append the rows of one size to a CSV file."""
    append(path, FIELDS, [row for one in group for row in rows(one, threads)])


def append(path: Path, fields: Sequence[str], found: Iterable[dict[str, Any]]) -> None:
    """Append rows to a CSV file, below its header."""
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if new:
            writer.writeheader()
        writer.writerows(found)

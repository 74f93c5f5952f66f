"""Measure whole training steps of networks against the same with ReLU, and tt.Linear alone against nn.Linear.

    python -m benchmarks.network [--rounds 15] [--threads 2] [--only network|convolution|linear]

The convolutional network is `benchmarks/convolution.py`; its rows of snnTorch and SpikingJelly need those installed.
Contestants take turns in one process. Appends to benchmarks/results/network.csv, and writes network.md.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import tracetorch as tt

from . import convolution
from .measure import append, device

RESULTS = Path(__file__).parent / "results"
T, B, SIZES = 100, 64, (700, 256, 256, 20)
RATE = 0.02     # of the input that is not zero
SHAPES = ((6400, 700, 256), (6400, 256, 256), (6400, 256, 20), (64, 700, 256), (64, 256, 256), (1, 256, 256), (1, 8, 8))
DENSITIES = (0.02, 0.1, 0.3, 1.0)
FIELDS = ("date", "device", "threads", "torch", "version", "contestant", "shape", "density", "what", "median", "low",
          "high", "unit", "calls")
Call = Callable[[], object]


def network(neuron: Callable[[int], nn.Module], ours: tuple[int, ...] = ()) -> nn.Sequential:
    """Three Linears with neurons between; those named by `ours` are tt.Linear."""
    torch.manual_seed(1)
    last = tt.snn.LI(SIZES[3]) if neuron is not nn.ReLU else nn.Identity()
    linears = [(tt.Linear if i in ours else nn.Linear)(SIZES[i], SIZES[i + 1]) for i in range(3)]
    for linear in linears:      # so that hidden layers fire as in a trained network
        nn.init.normal_(linear.weight, std=2.5 / (3 * linear.in_features) ** 0.5)
    hidden = [nn.ReLU() if neuron is nn.ReLU else neuron(size) for size in SIZES[1:3]]
    return nn.Sequential(linears[0], hidden[0], linears[1], hidden[1], linears[2], last)


def smooth(size: int) -> nn.Module:
    return tt.snn.LIB(size)


def hard(size: int) -> nn.Module:
    return tt.snn.LIB(size, spike_fn=tt.functional.heavi_erfc(1.0))


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "ReLU, nn.Linear": lambda: network(nn.ReLU),
    "ReLU, first layer tt.Linear": lambda: network(nn.ReLU, (0,)),
    "ReLU, all tt.Linear": lambda: network(nn.ReLU, (0, 1, 2)),
    "LIB, smooth spikes, nn.Linear": lambda: network(smooth),
    "LIB, smooth spikes, tt.Linear": lambda: network(smooth, (0, 1, 2)),
    "LIB, hard spikes, nn.Linear": lambda: network(hard),
    "LIB, hard spikes, tt.Linear": lambda: network(hard, (0, 1, 2)),
}


def inputs() -> tuple[Tensor, Tensor]:
    """Spikes at random and labels."""
    torch.manual_seed(0)
    return (torch.rand(T, B, SIZES[0]) < RATE).float(), torch.randint(SIZES[-1], (B,))


def run(model: nn.Sequential, x: Tensor) -> Tensor:
    """Return the outputs [T, B, 20]; a network without neurons takes all steps as one batch."""
    if isinstance(model[1], nn.ReLU):
        return model(x.flatten(0, 1)).unflatten(0, (T, B))
    tt.zero_states(model)
    return tt.scan(model, x)


def training(model: nn.Sequential) -> Call:
    x, target = inputs()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)

    def step() -> float:
        loss = nn.functional.cross_entropy(run(model, x).mean(0), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()
    return step


def inference(model: nn.Sequential) -> Call:
    x, _ = inputs()

    @torch.no_grad()
    def call() -> Tensor:
        return run(model, x)
    return call


def alone(linear: nn.Linear, x: Tensor, g: Tensor) -> dict[str, Call]:
    """Forward without gradient; forward and the weight's gradient; and the input's too."""
    wanting = x.clone().requires_grad_()

    @torch.no_grad()
    def forward() -> Tensor:
        return linear(x)

    def weights() -> None:
        linear.zero_grad()
        linear(x).backward(g)

    def both() -> None:
        linear.zero_grad()
        wanting.grad = None
        linear(wanting).backward(g)
    return {"forward": forward, "forward, dW": weights, "forward, dW, dx": both}


def race(calls: dict[tuple, Call], rounds: int) -> dict[tuple, list[float]]:
    """Milliseconds of each call, in turns; short calls are repeated to about 2 ms."""
    times: dict[tuple, list[float]] = {name: [] for name in calls}
    repeats = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        repeats[name] = max(1, int(0.002 / (time.perf_counter() - start)))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            times[name].append((time.perf_counter() - start) / repeats[name] * 1e3)
    return times


def networks(rounds: int) -> dict[tuple, list[float]]:
    """Whole networks, trained and run; keys are (contestant, shape, density, what)."""
    shape = "-".join(map(str, SIZES))
    calls: dict[tuple, Call] = {}
    models = {name: build() for name, build in NETWORKS.items()}
    for name, model in models.items():
        calls[name, shape, RATE, "training step"] = training(model)
        calls[name, shape, RATE, "inference"] = inference(NETWORKS[name]())
    times = race(calls, rounds)
    for name, model in models.items():
        ours = [str(linear.seen) for linear in tt.explain(model).linears]
        if ours:
            print(f"{name}, at the end: {'; '.join(ours)}")
    return times


def convolutions(rounds: int) -> dict[tuple, list[float]]:
    """The convolutional network, trained and run, by those libraries that are installed."""
    calls: dict[tuple, Call] = {}
    for name, build in convolution.found().items():
        for what, made in (("training step", convolution.training), ("inference", convolution.inference)):
            calls[name, convolution.SHAPE, convolution.RATE, what] = made(build())
    return race(calls, rounds)


def linears(rounds: int) -> dict[tuple, list[float]]:
    """nn.Linear against tt.Linear, shape by shape."""
    times: dict[tuple, list[float]] = {}
    for M, K, N in SHAPES:
        for density in DENSITIES:
            torch.manual_seed(0)
            theirs = nn.Linear(K, N)
            ours = tt.Linear(K, N)
            ours.load_state_dict(theirs.state_dict())
            x, g = (torch.rand(M, K) < density).float(), torch.randn(M, N)
            calls = {(name, f"{M}; {K}, {N}", density, what): call
                     for name, linear in (("nn.Linear", theirs), ("tt.Linear", ours))
                     for what, call in alone(linear, x, g).items()}
            times |= race(calls, rounds)
    return times


def report(times: dict[tuple, list[float]]) -> str:
    """Medians as a Markdown table, each with what the first contestant of the same row takes for one."""
    names = dict.fromkeys(key[0] for key in times)
    lines = ["| ms (of the first) | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for place in dict.fromkeys(key[1:] for key in times):
        medians = [statistics.median(times[(name, *place)]) for name in names]
        cells = [f"{m:.3g} ({m / medians[0]:.2f})" for m in medians]
        lines.append(f"| {place[0]}, {place[1]:.0%}: {place[2]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write(times: dict[tuple, list[float]], threads: int) -> None:
    """Append rows to the CSV file."""
    rows = []
    for (contestant, shape, density, what), values in times.items():
        low, median, high = statistics.quantiles(values, n=4)
        rows.append(dict(
            date=datetime.date.today().isoformat(), device=device(), threads=threads, torch=torch.__version__,
            version=tt.__version__, contestant=contestant, shape=shape, density=density, what=what,
            median=f"{median:.4f}", low=f"{low:.4f}", high=f"{high:.4f}", unit="ms", calls=len(values)))
    append(RESULTS / "network.csv", FIELDS, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", choices=("network", "convolution", "linear"))
    parser.add_argument("--no-write", action="store_true", help="print only")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tables = []
    for name, measure in (("network", networks), ("convolution", convolutions), ("linear", linears)):
        if args.only in (None, name):
            times = measure(args.rounds)
            tables.append(report(times))
            print(tables[-1], flush=True)
            if not args.no_write:
                write(times, args.threads)
    if not args.only and not args.no_write:
        (RESULTS / "network.md").write_text("\n".join(tables))


if __name__ == "__main__":
    main()

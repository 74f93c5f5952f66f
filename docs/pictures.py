"""Draw the pictures of the pages with tracetorch.plot; a picture that is there is not drawn again."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch
from torch import nn

import tracetorch as tt
from tracetorch import plot

WIDTH = 8.0
"""Inches of every picture: pages scale them to one width, so their letters are of one size."""


def write(folder: Path) -> None:
    """Draw what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in drawings().items():
        path = folder / f"{name}.png"
        if not path.exists():
            draw()
            figure = plt.gcf()
            width, height = figure.get_size_inches()
            figure.set_size_inches(WIDTH, height * (WIDTH / width) ** 0.5)
            figure.savefig(path, dpi=110, facecolor="white")
            plt.close("all")


def drawings() -> dict[str, Callable[[], Any]]:
    """Return what draws each picture, by file name."""
    found: dict[str, Callable[[], Any]] = {}
    hard = tt.functional.round_ste()
    for name in ("LI", "LIEMA"):
        found[f"response_{name}"] = lambda name=name: plot.response(getattr(tt.snn, name), height=0.5)
    for name in ("LIB", "LIT", "LITS"):
        found[f"response_{name}"] = lambda name=name: plot.response(getattr(tt.snn, name), height=0.4, quant_fn=hard)
    found |= {"resonate_and_fire": resonate_and_fire, "exponential": exponential, "activity": activity,
              **surrogates(), **stages()}
    return found


def example(name: str) -> Any:
    """Import a worked example."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def activity() -> None:
    """Draw the reports of a deep network as PyTorch initialises it, and calibrated."""
    torch.manual_seed(0)
    layers = [layer for k in range(6) for layer in (
        nn.Linear(64 if k else 16, 64), tt.snn.LIB(64, quant_fn=tt.functional.round_ste()))]
    model, x = nn.Sequential(*layers), torch.rand(50, 32, 16)
    _, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
    plot.activity(tt.activity(model, x), axes[0])
    tt.calibrate(model, x, rate=0.1)
    plot.activity(tt.activity(model, x), axes[1])
    for row, title in zip(axes, ("as PyTorch initialises it", "calibrated to a rate of 0.1"), strict=True):
        row[0].set_title(title)


def run(layer: tt.Layer, x: torch.Tensor, ax: Any, neurons: tuple[int, ...] = (0,)) -> None:
    """Draw a layer's membranes, thresholds and spikes."""
    layer.zero_states()
    with torch.no_grad():
        spikes, recordings = tt.scan(layer, x, record="potential")
    plot.traces({"membrane": recordings["potential"]}, ax, neurons=neurons, layer=layer, spikes=spikes)


def resonate_and_fire() -> None:
    demo = example("resonate_and_fire")
    _, axes = plt.subplots(2, 1, figsize=(7, 4), sharex=True, sharey=True, layout="constrained")
    layer = demo.ResonateAndFire(1, threshold=0.9, quant_fn=tt.functional.round_ste())
    for gap, ax in zip((6, 13), axes, strict=True):
        run(layer, demo.two_pulses(gap), ax)
        ax.set_title(f"pulses {gap} steps apart", loc="left", fontsize="medium")
    axes[0].set_xlabel("")


def exponential() -> None:
    demo = example("exponential")
    _, ax = plt.subplots(figsize=(7, 3), layout="constrained")
    run(demo.ExponentialLIF(2, quant_fn=tt.functional.round_ste()), demo.pushes(), ax, neurons=(0, 1))


def surrogates() -> dict[str, Callable[[], Any]]:
    """Return what draws each surrogate; of those that fire by chance the mean over many draws."""
    f = tt.functional
    fixed = {"HeaviErfc": f.heavi_erfc(1.0), "HeaviTanh": f.heavi_tanh(1.0), "HeaviCirc": f.heavi_circ(1.0),
             "Triangle": f.triangle(), "SuperSpike": f.super_spike(10.0), "MultiSpike": f.multi_spike(),
             "Arctan": f.Arctan(2.0), "Sigmoid": f.Sigmoid(4.0), "FastSigmoid": f.FastSigmoid(2.0),
             "sigmoid4x": f.sigmoid4x, "Surrogate": f.surrogate(torch.tanh)}
    chance = {"Logistic": f.logistic(1.0), "CircDist": f.circ_dist(1.0)}
    mean = {name: (lambda u, fn=fn: torch.stack([fn(u) for _ in range(2000)]).mean(0)) for name, fn in chance.items()}
    return {f"surrogate_{name}": (lambda fn=fn: surrogate(fn)) for name, fn in (fixed | mean).items()}


def surrogate(fn: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.manual_seed(0)
    _, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
    plot.surrogate(fn, ax)


def stages() -> dict[str, Callable[[], Any]]:
    """Return what draws the response of a neuron with each stage."""
    hard = {"quant_fn": tt.functional.round_ste()}
    company: dict[str, tuple[list, dict]] = {
        "Dual": ([tt.Dual, tt.Ternary], {"neg_beta": 0.75, **hard}), "Synaptic": ([tt.Synaptic, tt.Binary], hard),
        "Current": ([tt.Current, tt.Binary], {"alpha": 0.8, **hard}),
        "Recurrent": ([tt.Recurrent, tt.Binary], {"rec_weight": 0.3, **hard}), "Leaky": ([], {}), "EMA": ([tt.EMA], {}),
        "Integrator": ([tt.Integrator], {}),
        "Adaptive": ([tt.Adaptive, tt.Binary], {"kappa": 0.4, **hard}), "Binary": ([tt.Binary], hard),
        "RelativeRefractory": ([tt.RelativeRefractory, tt.Binary], {"rel_decay": 0.8, **hard}),
        "Ternary": ([tt.Ternary], hard), "Refractory": ([tt.Refractory(5), tt.Binary], hard),
        "Reset": ([tt.Reset("zero"), tt.Binary], hard), "Scaled": ([tt.Scaled], {"neg_scale": 0.5, **hard}),
    }
    return {f"stage_{name}": (lambda stages=stages, kwargs=kwargs: plot.response(
        tt.compose(*stages, name="Shown"), height=0.4, **kwargs)) for name, (stages, kwargs) in company.items()}

"""Draw the pictures of the pages with tracetorch.plot; a picture that is there is not drawn again."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import torch  # noqa: E402

import tracetorch as tt  # noqa: E402
from tracetorch import plot  # noqa: E402


def write(folder: Path) -> None:
    """Draw what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in drawings().items():
        path = folder / f"{name}.png"
        if not path.exists():
            draw()
            plt.savefig(path, dpi=110, facecolor="white")
            plt.close("all")


def drawings() -> dict[str, Callable[[], Any]]:
    """Return what draws each picture, by file name."""
    found: dict[str, Callable[[], Any]] = {}
    hard = tt.functional.round_ste()
    for name in ("LI", "LIEMA"):
        found[f"response_{name}"] = lambda name=name: plot.response(getattr(tt.snn, name), height=0.5)
    for name in ("LIB", "LIT", "LITS"):
        found[f"response_{name}"] = lambda name=name: plot.response(getattr(tt.snn, name), height=0.4, quant_fn=hard)
    found |= {"resonate_and_fire": resonate_and_fire, "exponential": exponential}
    return found


def example(name: str) -> Any:
    """Import a worked example."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run(layer: tt.Layer, x: torch.Tensor, ax: Any, neurons: tuple[int, ...] = (0,)) -> None:
    """Draw a layer's membranes, thresholds and spikes."""
    layer.zero_states()
    with torch.no_grad():
        spikes, traces = tt.scan(layer, x, record="potential")
    plot.traces({"membrane": traces["potential"]}, ax, neurons=neurons, layer=layer, spikes=spikes)


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

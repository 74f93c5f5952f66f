"""The demo's picture: what the trained network sees, how its hidden layer answers, how it learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from torch import Tensor, nn

import tracetorch as tt
import tracetorch.plot as ttplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HIDDEN_LAYER = 3  # of the network: the composed one
NEURONS = 2  # whose traces are drawn


def draw(model: nn.Sequential, images: Tensor, x: Tensor, report: Any, path: str) -> None:
    """Write the picture for a few images [B, 8, 8], shown over time as `x` [T, B, 8], one after another."""
    import matplotlib.pyplot as plt

    spikes, recorded = hidden_activity(model, x)
    figure = plt.figure(figsize=(10.4, 7.6), layout="constrained")
    rows = figure.add_gridspec(4, 1, height_ratios=(1, 3.4, 2, 2))
    figure.suptitle(f"Digits seen row by row: {report.accuracies[-1]:.1%} of the held-out ones named correctly")
    raster = ttplot.raster(spikes, figure.add_subplot(rows[1]))
    traces = figure.add_subplot(rows[2], sharex=raster)
    layer, neurons = model[HIDDEN_LAYER], readable(spikes, recorded["potential"], NEURONS)
    ttplot.traces(recorded, traces, layer=layer, neurons=neurons, spikes=spikes)
    separate(raster, traces, len(x), len(images))
    thumbnails(figure.add_subplot(rows[0], sharex=raster), images, len(x))
    raster.set_ylabel(f"neuron of {type(layer).__name__}")
    traces.set_ylabel("membrane before reset")
    halves = rows[3].subgridspec(1, 2)
    learning_curve(figure.add_subplot(halves[0]), figure.add_subplot(halves[1]), report)
    figure.savefig(path, dpi=125)
    plt.close(figure)


def hidden_activity(model: nn.Sequential, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return spikes and traces of the hidden layer, the images of the batch one after another: [B*T, N]."""
    tt.zero_states(model)
    with torch.no_grad():
        arriving = tt.scan(model[:HIDDEN_LAYER], x)
        spikes, recorded = tt.scan(model[HIDDEN_LAYER], arriving, record=("potential", "shift"))

    def in_a_row(values: Tensor) -> Tensor:
        return rearrange(values, "t b n -> (b t) n")

    return in_a_row(spikes), {name: in_a_row(values) for name, values in recorded.items()}


def readable(spikes: Tensor, potential: Tensor, count: int) -> list[int]:
    """Choose neurons whose traces show the most: about every third step a spike, and no huge excursions between."""
    seldom_or_often = (spikes.mean(0) - 0.3).abs() > 0.15
    return (potential.abs().amax(0) + 1e6 * seldom_or_often).argsort()[:count].tolist()


def thumbnails(ax: Axes, images: Tensor, steps: int) -> None:
    """Put each image above the time it is shown."""
    ax.axis("off")
    for k, image in enumerate(images):
        place = (k * steps - 0.5 + 0.2 * steps, 0, 0.6 * steps, 1)
        inset = ax.inset_axes(place, transform=ax.get_xaxis_transform())
        inset.imshow(image.numpy(), cmap="gray_r")
        inset.set(xticks=[], yticks=[])


def separate(raster: Axes, traces: Axes, steps: int, images: int) -> None:
    """Draw a line wherever a new image begins."""
    for ax in (raster, traces):
        for k in range(1, images):
            ax.axvline(k * steps - 0.5, color="0.75", lw=0.8)
    raster.set_xlabel("")
    raster.tick_params(labelbottom=False)


def learning_curve(loss: Axes, accuracy: Axes, report: Any) -> None:
    """Draw loss and accuracy on held-out digits per epoch."""
    epochs = range(1, len(report.losses) + 1)
    for ax, values, label in (
        (loss, report.losses, "training loss"),
        (accuracy, [100 * a for a in report.accuracies], "held out (%)"),
    ):
        ttplot.style.bare(ax).plot(epochs, values, color=ttplot.style.POSITIVE, marker=".")
        ax.set(xlabel="epoch", ylabel=label)
        ax.grid(axis="y", alpha=0.3)
    loss.set_yscale("log")

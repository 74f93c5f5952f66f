"""Cost against T, B and N, one at a time, as a picture."""

from __future__ import annotations

import statistics
from pathlib import Path

BASE = (100, 16, 256)
AXES = {"T (steps)": [(t, 16, 256) for t in (10, 30, 100, 300, 1000, 3000)],
        "B (batch)": [(100, b, 256) for b in (1, 4, 16, 64, 256)],
        "N (neurons)": [(100, 16, n) for n in (16, 64, 256, 1024, 4096)]}
DRAWN = ("torch.sigmoid", "tracetorch LIB", "tracetorch DSRLITS")


def draw(path: Path, threads: int) -> None:
    """Measure forward+backward along each axis and write the picture."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from .measure import measure

    figure, panels = plt.subplots(1, 3, figsize=(13, 4), sharey=True, layout="constrained")
    for panel, (label, sizes), index in zip(panels, AXES.items(), range(3), strict=True):
        groups = [measure(size, list(DRAWN), 1, threads) for size in sizes]
        for name in DRAWN:
            points = [(one.size[index], statistics.median(one.times["both"]))
                      for group in groups for one in group if one.name == name]
            panel.loglog(*zip(*points, strict=True), marker="o", markersize=3, label=name)
        panel.set_xlabel(label)
        panel.grid(True, which="both", linewidth=0.3, alpha=0.5)
    panels[0].set_ylabel("forward+backward, ms")
    panels[0].legend(fontsize=8)
    figure.suptitle("Cost of one call; the sizes not varied are T=100, B=16, N=256")
    figure.savefig(path, dpi=120)

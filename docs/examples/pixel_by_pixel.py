"""Digits pixel by pixel, in a shuffled order: with and without feedback, with and without adaptation.

    python docs/examples/pixel_by_pixel.py [--hold 1] [--epochs 40] [--seeds 1] [--picture FILE]

`--hold 6` shows each pixel for six steps to membranes that forget within two to ten: the harder task of the page.
"""

import argparse
import statistics
import time

import torch
from sklearn.datasets import load_digits
from torch import nn

import tracetorch as tt

N = 128
KINDS = {"neither": (False, False), "adaptation": (True, False), "feedback": (False, True), "both": (True, True)}
AdaptiveLIB = tt.compose(tt.Adaptive, tt.Binary)


def digits(hold):
    """Return pixels [64 * hold, images, 1] in one shuffled order, and labels: 1400 to train on and 397 to test."""
    data, generator = load_digits(), torch.Generator().manual_seed(0)
    pixels, images = torch.randperm(64, generator=generator), torch.randperm(1797, generator=generator)
    x = torch.tensor(data.images, dtype=torch.float32).flatten(1)[images][:, pixels] / 16
    x, labels = x.T[..., None].repeat_interleave(hold, 0), torch.tensor(data.target)[images]
    return (x[:, :1400].contiguous(), labels[:1400]), (x[:, 1400:].contiguous(), labels[1400:])


def network(adaptation, feedback, short):
    """One hidden layer of hard spikes; `short` membranes forget within ten steps and don't learn to last longer."""
    options = {"quant_fn": tt.functional.round_ste(), "learn_beta": not short}
    options["beta"] = 0.5 + 0.4 * torch.rand(N) if short else 0.69 + 0.3 * torch.rand(N)
    neuron = AdaptiveLIB(N, rho=0.945 + 0.05 * torch.rand(N), **options) if adaptation else tt.snn.LIB(N, **options)
    if feedback:
        path = nn.Linear(N, N, bias=False)
        nn.init.orthogonal_(path.weight, gain=0.5)
        neuron = tt.Feedback(neuron, path)
    return nn.Sequential(nn.Linear(1, N), neuron, nn.Linear(N, 10), tt.snn.LIEMA(10, beta=0.9))


def last(model, x, fold=True):
    """Return what the readout says after the last step [images, 10]."""
    tt.zero_states(model)
    return tt.scan(model, x, fold=fold, backend="auto" if fold else "eager")[-1]


def train(model, data, epochs, seed=0, fold=True):
    """Train; return the accuracy on the test images after every epoch, and the median time of an epoch in seconds."""
    (x, labels), (test, answers) = data
    optimizer, generator = torch.optim.Adam(model.parameters(), 2e-3), torch.Generator().manual_seed(seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 14 * epochs)
    accuracies, times = [], []
    for _ in range(epochs):
        start = time.perf_counter()
        for batch in torch.randperm(1400, generator=generator).split(100):
            loss = nn.functional.cross_entropy(5 * last(model, x[:, batch].contiguous(), fold), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        times.append(time.perf_counter() - start)
        with torch.no_grad():
            accuracies.append((last(model, test).argmax(1) == answers).float().mean().item())
    return accuracies, statistics.median(times)


def draw(curves, path):
    """Draw the learning curves of every kind, one line a seed."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for kind, (style, lines) in zip(curves, zip((":", "-.", "--", "-"), curves.values(), strict=True), strict=True):
        for line in lines:
            axes.plot(range(1, len(line) + 1), line, style, color=f"C{list(curves).index(kind)}",
                      label=kind if line is lines[0] else None)
    axes.set(xlabel="epoch", ylabel="accuracy on held-out images", ylim=(0, 1))
    figure.legend(frameon=False, loc="outside upper center", ncols=4)
    plt.savefig(path, dpi=130, facecolor="white")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hold", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--picture")
    args = parser.parse_args()
    data, curves = digits(args.hold), {}
    for kind, parts in KINDS.items():
        curves[kind], seconds = [], []
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            accuracies, median = train(network(*parts, short=args.hold > 1), data, args.epochs, seed)
            curves[kind].append(accuracies)
            seconds.append(median)
        ends = " ".join(f"{line[-1]:.2f}" for line in curves[kind])
        torch.manual_seed(0)
        stepped = train(network(*parts, short=args.hold > 1), data, 1, fold=False)[1]
        print(f"{kind:10s} accuracy {ends}   an epoch {stepped:.2f} s stepped, {min(seconds):.2f} s scanned",
              flush=True)
    if args.picture:
        draw(curves, args.picture)


if __name__ == "__main__":
    main()

"""A spiking network learns handwritten digits that it sees row by row."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from einops import repeat
from torch import Tensor, nn

import tracetorch as tt

from .picture import draw

HOLD = 3  # time steps for which each row of an image is shown
HIDDEN = 128
BATCH = 64
Classifier = Callable[[nn.Module, Tensor], Tensor]


class Accommodating(tt.Stage):
    """Threshold that follows the slow average of the membrane, so that the neuron answers to change.

        threshold + kappa*slow        slow = rho*slow + (1-rho)*potential
    """

    rho, kappa = tt.Decay(0.9), tt.Real(0.2)
    slow = tt.State()

    def step(self, s):
        s.slow = s.rho * s.slow + (1 - s.rho) * s.potential
        s.shift = s.shift + s.kappa * s.slow


AccommodatingSLIB = tt.compose(tt.Synaptic, Accommodating, tt.Binary, name="AccommodatingSLIB")


@dataclass
class Digits:
    """Images [B, 8, 8] in [0, 1] and their labels, a quarter of them held out."""

    images: Tensor
    labels: Tensor
    held_images: Tensor
    held_labels: Tensor


@dataclass
class Report:
    """What the demo measured; times in seconds, one loss and accuracy per epoch."""

    seconds: float = 0.0
    scanned_epoch: float = 0.0
    stepped_epoch: float = 0.0
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)


def run(epochs: int, seed: int, picture: str) -> Report:
    """Train, say what came out, and write the picture."""
    torch.manual_seed(seed)
    digits, model, report = load(seed), network(), Report()
    print(model)
    train(model, digits, epochs, report)
    print(f"accuracy on {len(digits.held_labels)} held-out digits: {report.accuracies[-1]:.1%}")
    print(tt.activity(model, over_time(digits.held_images)).summary())
    report.scanned_epoch = time_epoch(model, digits, scanned)
    report.stepped_epoch = time_epoch(model, digits, stepped)
    faster = report.stepped_epoch / report.scanned_epoch
    times = f"{report.stepped_epoch:.2f} s stepped, {report.scanned_epoch:.2f} s scanned"
    print(f"one epoch: {times} ({faster:.1f} times as fast)")
    shown = torch.stack([digits.held_images[digits.held_labels == k][0] for k in range(10)])
    draw(model, shown, over_time(shown), report, picture)
    print(f"training took {report.seconds:.1f} s; picture: {picture}")
    return report


def load(seed: int) -> Digits:
    """Load scikit-learn's 1,797 digits and hold a quarter out, every class in proportion."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = torch.tensor(bunch.images / 16, dtype=torch.float32)
    labels = torch.tensor(bunch.target)
    numbers = range(len(labels))
    rest, held = train_test_split(numbers, test_size=0.25, random_state=seed, stratify=bunch.target)
    return Digits(images[rest], labels[rest], images[held], labels[held])


def over_time(images: Tensor) -> Tensor:
    """Show images row by row: [B, 8, 8] -> [T, B, 8]."""
    return repeat(images, "b row pixel -> (row hold) b pixel", hold=HOLD)


def network() -> nn.Sequential:
    """Build two hidden spiking layers, one ready-made and one composed above, and a leaky readout."""
    decays = torch.linspace(0.3, 0.95, HIDDEN)
    spikes = tt.functional.round_ste()
    return nn.Sequential(
        tt.Linear(8, HIDDEN),
        tt.snn.LIB(HIDDEN, beta=decays, threshold=0.5, quant_fn=spikes),
        tt.Linear(HIDDEN, HIDDEN),
        AccommodatingSLIB(HIDDEN, alpha=decays, beta=decays.flip(0), threshold=0.5, quant_fn=spikes),
        tt.Linear(HIDDEN, 10),
        tt.snn.LI(10),
    )


def scanned(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits after the last row, all time steps in one call."""
    tt.zero_states(model)
    return tt.scan(model, over_time(images))[-1]


def stepped(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits after the last row, one call per time step: the same numbers."""
    tt.zero_states(model)
    for x in over_time(images):
        y = model(x)
    return y


def train(model: nn.Module, digits: Digits, epochs: int, report: Report) -> None:
    """Train by scanning; test after every epoch."""
    from tqdm import tqdm

    batches = -(-len(digits.labels) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-2, total_steps=epochs * batches)
    start = time.perf_counter()
    with tqdm(total=epochs * batches, unit="batch", disable=None) as bar:       # None: on a terminal only
        for epoch in range(epochs):
            losses = []
            for chosen in torch.randperm(len(digits.labels)).split(BATCH):
                losses.append(learn(model, optimiser, digits.images[chosen], digits.labels[chosen]))
                schedule.step()
                bar.update()
            report.losses.append(sum(losses) / batches)
            report.accuracies.append(accuracy(model, digits))
            now = f"loss {report.losses[-1]:.3f}, held out {report.accuracies[-1]:.1%}"
            bar.set_postfix_str(now)
            if bar.disable:
                print(f"epoch {epoch + 1} of {epochs}: {now}")
    report.seconds = time.perf_counter() - start


def learn(
    model: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor, classify: Classifier = scanned
) -> float:
    """Take one step of gradient descent; return the loss."""
    loss = nn.functional.cross_entropy(classify(model, images), labels)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return loss.item()


def accuracy(model: nn.Module, digits: Digits) -> float:
    """Share of the held-out digits that the model names."""
    with torch.no_grad():
        named = scanned(model, digits.held_images).argmax(-1)
    return (named == digits.held_labels).float().mean().item()


def time_epoch(model: nn.Module, digits: Digits, classify: Classifier) -> float:
    """Return the seconds of one epoch, forward and backward, without changing the model."""
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    start = time.perf_counter()
    for images, labels in zip(digits.images.split(BATCH), digits.labels.split(BATCH), strict=True):
        learn(model, still, images, labels, classify)
    return time.perf_counter() - start

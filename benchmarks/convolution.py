"""A small convolutional network over events, in this library, with ReLU, and in SpikingJelly and snnTorch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor, nn

import tracetorch as tt

T, B, SIZE, CLASSES = 50, 16, 34, 10
RATE = 0.02     # of the input that is not zero
SHAPE = f"{T}x{B}x2x{SIZE}x{SIZE}: 16c5s2-32c3s2-{CLASSES}"
Net = tuple[nn.Module, Callable[[Tensor], Tensor]]      # what learns, and [T, B, 2, 34, 34] -> [T, B, 10]


def layers(neuron: Callable[[int], nn.Module], last: nn.Module, of: type = nn) -> list[nn.Module]:
    """Two convolutions and a Linear with neurons between; `of` has the classes of the weights."""
    torch.manual_seed(1)
    weights = [of.Conv2d(2, 16, 5, 2), of.Conv2d(16, 32, 3, 2), of.Linear(32 * 7 * 7, CLASSES)]
    for module, std in zip(weights, (1.0, 0.2, 0.05), strict=True):     # so that hidden layers fire
        nn.init.normal_(module.weight, std=std)
    one, two, three = weights
    return [one, neuron(16), two, neuron(32), of.Flatten(), three, last]


def relu() -> Net:
    """The same without neurons: all steps are one batch."""
    model = nn.Sequential(*layers(lambda _: nn.ReLU(), nn.Identity()))
    return model, lambda x: model(x.flatten(0, 1)).unflatten(0, (T, B))


def ours(**options: object) -> Net:
    model = nn.Sequential(*layers(lambda n: tt.snn.LIB(n, dim=-3, **options), tt.snn.LI(CLASSES)))

    def run(x: Tensor) -> Tensor:
        tt.zero_states(model)
        return tt.scan(model, x)
    return model, run


def hard() -> Net:
    return ours(spike_fn=tt.functional.heavi_erfc(1.0))


def spikingjelly() -> Net:
    """Multi-step LIFNodes on the PyTorch backend; its layers fold time into the batch."""
    from spikingjelly.activation_based import functional, layer, neuron
    model = nn.Sequential(*layers(lambda _: neuron.LIFNode(decay_input=False), nn.Identity(), layer))
    functional.set_step_mode(model, "m")

    def run(x: Tensor) -> Tensor:
        functional.reset_net(model)
        return model(x)
    return model, run


def snntorch() -> Net:
    """Leaky, one step after the other, as its tutorials do."""
    import snntorch as snn
    model = nn.Sequential(*layers(lambda _: snn.Leaky(beta=0.9, init_hidden=True), nn.Identity()))

    def run(x: Tensor) -> Tensor:
        for module in model:
            if isinstance(module, snn.Leaky):
                module.reset_mem()
        return torch.stack([model(x_t) for x_t in x])
    return model, run


NETWORKS: dict[str, Callable[[], Net]] = {
    "ReLU": relu, "LIB, smooth spikes": ours, "LIB, hard spikes": hard,
    "spikingjelly LIFNode": spikingjelly, "snntorch Leaky": snntorch,
}


def found() -> dict[str, Callable[[], Net]]:
    """The networks of the libraries that are installed."""
    missing = [name for name in ("spikingjelly", "snntorch") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"not measured, for not installed: {', '.join(missing)}")
    return {name: build for name, build in NETWORKS.items() if name.split()[0] not in missing}


def inputs() -> tuple[Tensor, Tensor]:
    """Events at random and labels."""
    torch.manual_seed(0)
    return (torch.rand(T, B, 2, SIZE, SIZE) < RATE).float(), torch.randint(CLASSES, (B,))


def training(net: Net) -> Callable[[], float]:
    (model, run), (x, target) = net, inputs()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)

    def step() -> float:
        loss = nn.functional.cross_entropy(run(x).mean(0), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()
    return step


def inference(net: Net) -> Callable[[], Tensor]:
    (_, run), (x, _) = net, inputs()

    @torch.no_grad()
    def call() -> Tensor:
        return run(x)
    return call

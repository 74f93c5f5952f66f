"""What is measured: each contestant builds a function from an input [T, B, N] to an output [T, B, N].

This file also runs where only a peer library is installed, so everything else is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]


def activation(function: Run) -> Callable[[int], Run]:
    """For scale: one elementwise function of the whole input."""
    return lambda neurons: function


def scanned(name: str) -> Callable[[int], Run]:
    """One of our classes, scanned by the fused backend."""
    def build(neurons: int) -> Run:
        import tracetorch as tt
        layer = getattr(tt.snn, name)(neurons)

        def run(x: Tensor) -> Tensor:
            y = tt.scan(layer, x)
            layer.zero_states()
            return y
        return run
    return build


def stepped(name: str) -> Callable[[int], Run]:
    """One of our classes, or of traceTorch 0.19 where that is what `import tracetorch` finds, called once per step."""
    def build(neurons: int) -> Run:
        import tracetorch as tt
        layer = getattr(tt.snn, name)(neurons)

        def run(x: Tensor) -> Tensor:
            y = torch.stack([layer(x_t) for x_t in x])
            layer.zero_states()
            return y
        return run
    return build


def eager(name: str) -> Callable[[int], Run]:
    """One of our classes, stepped in plain PyTorch."""
    def build(neurons: int) -> Run:
        import tracetorch as tt
        run = stepped(name)(neurons)

        def in_eager(x: Tensor) -> Tensor:
            with tt.backend("eager"):
                return run(x)
        return in_eager
    return build


def spikingjelly(name: str, compiled: bool = False) -> Callable[[int], Run]:
    """SpikingJelly's multi-step neuron on its PyTorch backend, also under torch.compile."""
    def build(neurons: int) -> Run:
        from spikingjelly.activation_based import functional, neuron
        kind = {"LIF": neuron.LIFNode, "PLIF": neuron.ParametricLIFNode}[name]
        layer = kind(step_mode="m")
        call = torch.compile(layer) if compiled else layer

        def run(x: Tensor) -> Tensor:
            y = call(x)
            functional.reset_net(layer)
            return y
        return run
    return build


def snntorch_leaky(neurons: int) -> Run:
    """snnTorch's Leaky with learnable decay and threshold, called once per step."""
    import snntorch
    layer = snntorch.Leaky(beta=0.9, learn_beta=True, learn_threshold=True)

    def run(x: Tensor) -> Tensor:
        mem = layer.reset_mem()
        out = []
        for x_t in x:
            spike, mem = layer(x_t, mem)
            out.append(spike)
        layer.reset_mem()
        return torch.stack(out)
    return run


CONTESTANTS: dict[str, Callable[[int], Run]] = {
    "torch.sigmoid": activation(torch.sigmoid),
    "torch.relu": activation(torch.relu),
    "tracetorch LIB": scanned("LIB"),
    "tracetorch DSRLITS": scanned("DSRLITS"),
    "tracetorch LIF": scanned("LIF"),
    "tracetorch LIB, eager steps": eager("LIB"),
    "tracetorch DSRLITS, eager steps": eager("DSRLITS"),
    "spikingjelly LIFNode": spikingjelly("LIF"),
    "spikingjelly ParametricLIFNode": spikingjelly("PLIF"),
    "spikingjelly LIFNode, torch.compile": spikingjelly("LIF", compiled=True),
    "snntorch Leaky": snntorch_leaky,
    "traceTorch 0.19 LIB": stepped("LIB"),
    "traceTorch 0.19 DSRLITS": stepped("DSRLITS"),
}


Step = tuple[Callable[[Tensor], Tensor], Callable[[], object], list]


def layer_of(name: str) -> Callable[[int], Step]:
    """One of our classes, or of traceTorch 0.19 where that is what `import tracetorch` finds."""
    def build(neurons: int) -> Step:
        import tracetorch as tt
        layer = getattr(tt.snn, name)(neurons)
        return layer, layer.zero_states, list(layer.parameters())
    return build


def spikingjelly_step(neurons: int) -> Step:
    """SpikingJelly's single-step LIF with a learnable time constant."""
    from spikingjelly.activation_based import functional, neuron
    layer = neuron.ParametricLIFNode(step_mode="s")
    return layer, lambda: functional.reset_net(layer), list(layer.parameters())


def snntorch_step(neurons: int) -> Step:
    """snnTorch's Leaky, which keeps its membrane, with learnable decay and threshold."""
    import snntorch
    layer = snntorch.Leaky(beta=0.9, learn_beta=True, learn_threshold=True, init_hidden=True)
    return layer, layer.reset_mem, list(layer.parameters())


STEPPED: dict[str, Callable[[int], Step]] = {
    "tracetorch LIB": layer_of("LIB"),
    "tracetorch DSRLITS": layer_of("DSRLITS"),
    "traceTorch 0.19 LIB": layer_of("LIB"),
    "traceTorch 0.19 DSRLITS": layer_of("DSRLITS"),
    "spikingjelly ParametricLIFNode": spikingjelly_step,
    "snntorch Leaky": snntorch_step,
}

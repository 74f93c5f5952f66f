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


def fed_back(neurons: int) -> Run:
    """Our recurrent layer, scanned."""
    import tracetorch as tt
    layer = tt.Feedback(tt.snn.LIB(neurons), torch.nn.Linear(neurons, neurons, bias=False))

    def run(x: Tensor) -> Tensor:
        layer.zero_states()
        return tt.scan(layer, x)
    return run


def fed_back_by_hand(neurons: int) -> Run:
    """The same in plain PyTorch, as one writes it without a library for it."""
    import tracetorch as tt
    layer, path = tt.snn.LIB(neurons), torch.nn.Linear(neurons, neurons, bias=False)

    def run(x: Tensor) -> Tensor:
        layer.zero_states()
        fed, out = torch.zeros_like(x[0]), []
        with tt.backend("eager"):
            for x_t in x:
                fed = layer(x_t + path(fed))
                out.append(fed)
        return torch.stack(out)
    return run


def products(neurons: int) -> Run:
    """For scale: one product of all steps at once, which forward and backward is three."""
    weight = torch.randn(neurons, neurons, requires_grad=True)
    return lambda x: x @ weight


def snntorch_rleaky(neurons: int) -> Run:
    """snnTorch's recurrent Leaky, called once per step."""
    import snntorch
    layer = snntorch.RLeaky(beta=0.9, linear_features=neurons, learn_beta=True, learn_threshold=True)
    layer.recurrent = torch.nn.Linear(neurons, neurons, bias=False)

    def run(x: Tensor) -> Tensor:
        spike, mem = layer.init_rleaky()
        out = []
        for x_t in x:
            spike, mem = layer(x_t, spike, mem)
            out.append(spike)
        return torch.stack(out)
    return run


def spikingjelly_recurrent(neurons: int) -> Run:
    """SpikingJelly's container, whose matrix covers the input as well as the output."""
    from spikingjelly.activation_based import functional, layer, neuron
    net = layer.LinearRecurrentContainer(neuron.ParametricLIFNode(), neurons, neurons, bias=False, step_mode="m")

    def run(x: Tensor) -> Tensor:
        y = net(x)
        functional.reset_net(net)
        return y
    return run


def norse_recurrent(neurons: int) -> Run:
    """Norse's recurrent LIF, which multiplies the input by a matrix as well; its neurons learn nothing."""
    import norse.torch
    cell = norse.torch.LIFRecurrentCell(neurons, neurons)

    def run(x: Tensor) -> Tensor:
        state, out = None, []
        for x_t in x:
            spike, state = cell(x_t, state)
            out.append(spike)
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
WITH_FEEDBACK: dict[str, Callable[[int], Run]] = {
    "tracetorch Feedback(LIB)": fed_back,
    "tracetorch LIB": scanned("LIB"),
    "torch products": products,
    "tracetorch LIB, path by hand": fed_back_by_hand,
    "snntorch RLeaky": snntorch_rleaky,
    "spikingjelly LinearRecurrentContainer": spikingjelly_recurrent,
    "norse LIFRecurrentCell": norse_recurrent,
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

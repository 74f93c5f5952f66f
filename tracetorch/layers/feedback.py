"""tt.Feedback: neurons that hear what they all said one step before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import current
from ..looped import FED
from ..pipeline import States, Step
from . import html
from .layer import Layer, computed_by
from .linear import Linear
from .neuron import Neuron

LINEAR = (nn.Linear.forward, Linear.forward)


class Feedback(Layer):
    """Neurons whose outputs arrive at their own inputs one step later, through a path that learns.

        drive = x + path(fed)        output = neuron(drive)        fed = output

    With an `nn.Linear` as path a scan runs as one loop, product and neuron together; in float32 and float64 on the CPU
    every drive is one sum from bias or +0 over ascending inputs, x added last, so that scan, step, any cut in time,
    any batch and any number of threads give the same bits. Any other path is stepped inside this layer alone, which a
    scan says once; what lies around it is folded all the same. Under `tt.backend("eager")` the path is called as
    PyTorch does. States are `fed`, zero to start with, and the neuron's own, which live in `neuron`.

    Args:
        neuron: a layer of N neurons, such as `tt.snn.LIB(256)` or any composed one.
        path: `nn.Linear(N, N)` with or without bias, neurons last (`dim=-1`); or any module from the shape of the
            output to that of the input.

    Raises:
        TypeError: `neuron` is no layer or a `Feedback` itself, or `path` no module, or an `nn.LazyLinear`.
        ValueError: an `nn.Linear` of another size.

    Source: the recurrent spiking networks of Bellec et al., Long short-term memory and learning-to-learn in networks
    of spiking neurons (2018).
    """

    def __init__(self, neuron: Layer, path: nn.Module) -> None:
        for name, value, kind in (("neuron", neuron, Layer), ("path", path, nn.Module)):
            if not isinstance(value, kind):
                raise TypeError(f"Feedback: {name} must be a {'tracetorch layer' if kind is Layer else 'module'}, got "
                                f"{type(value).__name__}; write tt.Feedback(tt.snn.LIB(256), nn.Linear(256, 256))")
        if FED in neuron.carried_states():
            raise TypeError(f"Feedback: {type(neuron).__name__} has a state {FED!r} of its own; join both paths in one")
        super().__init__(neuron.num_neurons, neuron.dim)
        if isinstance(path, nn.LazyLinear):
            raise TypeError(f"Feedback: path is an nn.LazyLinear, which knows no size yet; write nn.Linear("
                            f"{self.num_neurons}, {self.num_neurons})")
        if isinstance(path, nn.Linear) and (path.in_features, path.out_features) != (self.num_neurons,) * 2:
            raise ValueError(f"Feedback: path is nn.Linear({path.in_features}, {path.out_features}), but "
                             f"{type(neuron).__name__} has {self.num_neurons} neurons; write "
                             f"nn.Linear({self.num_neurons}, {self.num_neurons})")
        self.neuron, self.path = neuron, path
        self._initialize_state(FED)

    def extra_repr(self) -> str:
        return ""

    @property
    def parts(self) -> tuple[Layer, ...]:  # type: ignore[override]
        """The neuron: it is stepped and scanned as a part of this layer."""
        return (self.neuron,)

    @property
    def optional_states(self) -> tuple[str, ...]:  # type: ignore[override]
        """States that are there only where they are needed."""
        return self.neuron.optional_states if "neuron" in self._modules else ()

    @property
    def recordable(self) -> tuple[str, ...]:
        """The names whose values over time a scan can return."""
        return (FED, *self.neuron.recordable)

    def start_of(self, name: str) -> float:
        """Return what a state is filled with at its first step."""
        return 0.0 if name == FED else self.neuron.start_of(name)

    def carried_states(self) -> dict[str, Tensor | None]:
        """Return every state, the neuron's too, None where it is not in use."""
        held = self.__dict__
        return {FED: held[FED], **held["_modules"]["neuron"].carried_states()}

    def carry_states(self, states: dict[str, Tensor]) -> None:
        """Carry new states on, each where it lives."""
        own = dict(states)
        if FED in own:
            super().carry_states({FED: own.pop(FED)})
        self.__dict__["_modules"]["neuron"].carry_states(own)

    def TTcompile(self) -> None:
        """Replace every `raw_` tensor of the neuron by its value, for inference; `TTdecompile` takes it back."""
        self.neuron.TTcompile()

    def TTdecompile(self) -> None:
        """Undo `TTcompile`."""
        self.neuron.TTdecompile()

    def _repr_html_(self) -> str:
        return html.feedback(self)

    @property
    def fuses(self) -> bool:  # type: ignore[override]
        """Whether a step of this layer is the neuron's pipeline and one matrix."""
        return self.stepped_because is None

    @property
    def stepped_because(self) -> str | None:  # type: ignore[override]
        """Why a scan steps this layer in Python; None where it does not."""
        modules = self.__dict__["_modules"]
        neuron, path = modules["neuron"], modules["path"]
        if not isinstance(neuron, Neuron) or not neuron.fuses:
            return f"its neuron, {type(neuron).__name__}, has a forward of its own"
        if type(path).forward not in LINEAR or "forward" in vars(path):
            return f"its path is {type(path).__name__}, and only nn.Linear runs inside a loop"
        for module in (neuron, path):
            before, after = module._forward_pre_hooks, module._forward_hooks or module._backward_hooks
            if after or module._backward_pre_hooks or (before and not all(map(computed_by, before.values()))):
                return f"its {type(module).__name__} has hooks, which are called at every step"
        return None

    def step_and_call(self, io: torch.dtype, device: torch.device) -> tuple[Step, Any]:
        """Return the step, and what else decides how a scan runs, for an input [T, num_neurons]."""
        return self.neuron.step_and_call(io, device, self._weights())

    def _weights(self) -> tuple[Tensor, ...]:
        """Return weight and bias of the path."""
        path = self.__dict__["_modules"]["path"]
        for hook in path._forward_pre_hooks.values():       # torch.nn.utils computes a weight in it
            hook(path, None)
        weight: Tensor = path.weight
        bias: Tensor | None = path.bias
        if weight.shape != (self.num_neurons, self.num_neurons):
            raise ValueError(f"{self._where}: the weight of the path has shape {list(weight.shape)}; it must have "
                             f"[{self.num_neurons}, {self.num_neurons}] (num_neurons)")
        return (weight,) if bias is None else (weight, bias)

    def step(self, x: Tensor, states: dict[str, Tensor | None] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute one time step as a pure function: nothing of the layer changes.

        Args:
            x: input of one step, any shape with `num_neurons` along `dim`.
            states: `fed` and the neuron's states by name, shaped like `x`; one that is missing or None starts anew.

        Returns:
            The output, shaped like `x`, and the new states, in the dtype of the computation.

        Raises:
            TypeError: `x` is no floating-point tensor, or the neuron has no `step`.
            ValueError: input or states of another size or on another device, a state that the layer does not have.
            RuntimeError: the path holds states.
        """
        given, known = states or {}, self.carried_states()
        if not given.keys() <= known.keys():
            raise self.unknown_state(given, known)
        if self.fuses:
            y, new, _ = self._run(x, x.shape, given)
            return y, new
        if not isinstance(self.neuron, Neuron):
            raise TypeError(f"{self._where}: {type(self.neuron).__name__} has no step; call the layer itself")
        if any(isinstance(module, Layer) for module in self.path.modules()):
            raise RuntimeError(f"{self._where}: the path holds layers with states, which a pure step can't carry; call "
                               "the layer itself")
        out, drive = self._drive(x, given.get(FED))
        y, new = self.neuron.step(drive, {name: state for name, state in given.items() if name != FED})
        return y.to(out), {**new, FED: y}

    def scan(self, x: Tensor, states: dict[str, Tensor | None], record: tuple[str, ...] = (),
             lengths: Tensor | None = None) -> tuple[Tensor, States, States]:
        """Run over [T, ...] from given states as a pure function; return output, new states and recordings."""
        return self._run(x, x.shape[1:], states, record, lengths)

    def forward(self, x: Tensor) -> Tensor:
        """Advance one time step, or all of them where `tt.scan` has folded time into the batch."""
        running = current.running()
        if running is not None:
            return running.scan(self, x)
        if not isinstance(x, Tensor):
            raise TypeError(f"{self._where}: the input must be a tensor, got {type(x).__name__}")
        if self.fuses:
            return self.advance(x, x.shape)
        out, drive = self._drive(x, self.__dict__[FED])
        y = self.neuron(drive)
        super().carry_states({FED: y})
        return y.to(out)

    def advance(self, x: Tensor, shape: torch.Size) -> Tensor:
        """Run over x [T, *shape], or [*shape] for one step, and carry the states on."""
        y, new, _ = self._run(x, shape, self.carried_states())
        self.carry_states(new)
        return y

    def _run(self, x: Tensor, shape: torch.Size, states: dict[str, Tensor | None], record: tuple[str, ...] = (),
             lengths: Tensor | None = None) -> tuple[Tensor, States, States]:
        """Run in the dtype of the computation, in which outputs are fed back before they are rounded."""
        neuron, path = self.__dict__["_modules"]["neuron"], self._weights()
        if self._axis(len(shape)) != len(shape) - 1:
            raise ValueError(f"{self._where}: nn.Linear acts along the last dimension, but the neurons lie along "
                             f"dim={self.dim} of one step {list(shape)}; move them last, or give a path that acts "
                             "along that dimension, such as nn.Conv2d")
        y, new, recordings = neuron.run(x, shape, states, record, lengths, path)
        return y if y.dtype is x.dtype else y.to(neuron.dtypes(x, path)[0]), new, recordings

    def _drive(self, x: Tensor, fed: Tensor | None) -> tuple[torch.dtype, Tensor]:
        """Return the dtype of the output, and what the neurons receive, where the path is called as a module."""
        out, dtype = self.neuron.dtypes(x) if isinstance(self.neuron, Neuron) else (x.dtype, x.dtype)
        if fed is None:
            fed = torch.zeros_like(x, dtype=dtype)
        self._check_state(FED, fed, tuple(x.shape), x.device)
        back = self.path(fed.to(dtype))
        if back.shape != x.shape:
            raise ValueError(f"{self._where}: the path gives {list(back.shape)} for an output {list(fed.shape)}; it "
                             f"must give the shape of the input, {list(x.shape)}")
        return out, x.to(dtype) + back

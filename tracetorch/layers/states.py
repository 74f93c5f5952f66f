"""States: what a layer carries from call to call, and the verbs that zero, detach, save and load it in any module."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..functional.renamed import renamed
from ..fusion.blame import users_level


class Stateful(nn.Module):
    """A module with the state verbs as methods: they act on every layer inside, itself included."""

    def zero_states(self) -> None:
        """Forget all states: they are None until the next step."""
        zero_states(self)

    def detach_states(self) -> None:
        """Cut the graph behind all states, which keep their values."""
        detach_states(self)

    def save_states(self) -> dict[str, Tensor]:
        """Return detached copies of all states in use, by path and name."""
        return save_states(self)

    def load_states(self, states: dict[str, Tensor], strict: bool = True,
                    device: torch.device | str | None = None) -> None:
        """Take over states from `save_states`; see `tt.load_states`."""
        load_states(self, states, strict, device)


class StateHolder(Stateful):
    """The states of one layer: attributes that are None until they are used.

    `state_names` are their names; `optional_states` those that are there only where they are needed, such as that of
    random numbers. `num_neurons` lie along `dim` of a state.
    """

    optional_states: tuple[str, ...] = ()
    num_neurons: int
    dim: int

    def __init__(self) -> None:
        super().__init__()
        self.state_names: list[str] = []

    @property
    def _where(self) -> str:
        return type(self).__name__

    @renamed(state_name="name")
    def _initialize_state(self, name: str) -> None:
        """Register a state; it is None until it is used."""
        if name not in self.state_names:
            self.state_names.append(name)
        setattr(self, name, None)

    def live_states(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the name and the value of every state in use."""
        for name in self.state_names:
            value = getattr(self, name)
            if value is not None:
                yield name, value

    def carried_states(self) -> dict[str, Tensor | None]:
        """Return every state as the layer holds it, None where it is not in use."""
        held = self.__dict__
        return {name: held[name] for name in self.state_names}

    def carry_states(self, states: dict[str, Tensor]) -> None:
        """Carry new states on; a program that is being exported can't, it starts from the same states each time."""
        if torch.compiler.is_compiling():
            for name, state in states.items() if not torch.compiler.is_exporting() else ():
                setattr(self, name, state)
            return
        transformed = torch._C._are_functorch_transforms_active()
        if transformed and any(torch._C._functorch.is_batchedtensor(s) for s in states.values() if s is not None):
            raise RuntimeError(f"{self._where}: called under torch.vmap, its states would keep the tensors of the "
                               "transform; use layer.step with explicit states there, or put what vmap runs over into "
                               "the batch dimension of x")
        vars(self).update(states)       # past nn.Module.__setattr__, which takes as long as a small kernel

    def unknown_state(self, states: Mapping[str, Any], known: Collection[str]) -> ValueError:
        """Return the error that names the first of some states that the layer does not have."""
        name = next(name for name in states if name not in known)
        return ValueError(f"{self._where}: no state is called {name!r}; there are {', '.join(known)}")

    def _zero_state(self, state_name: str) -> None:
        """Forget a state: it is None until it is used."""
        object.__setattr__(self, state_name, None)      # past nn.Module.__setattr__, as in carry_states

    def _detach_state(self, state_name: str) -> None:
        """Cut the graph behind a state, which keeps its value."""
        state = getattr(self, state_name)
        if state is not None:
            setattr(self, state_name, state.detach())

    def _ensure_state(self, state_name: str, reference_tensor: Tensor) -> None:
        """Fill a state that is None with zeros shaped like `reference_tensor`, with `num_neurons` along `dim`."""
        x, state = reference_tensor, getattr(self, state_name)
        shape = list(x.shape)
        shape[self._axis(x.ndim)] = self.num_neurons
        if state is None:
            setattr(self, state_name, torch.zeros(shape, dtype=x.dtype, device=x.device))
        else:
            self._check_state(state_name, state, tuple(shape), x.device)

    @renamed(reference_tensor="x")
    def _ensure_states(self, x: Tensor) -> None:
        """Fill every state that is None with zeros shaped like `x`, with `num_neurons` along `dim`."""
        for name in self.state_names:
            if name not in self.optional_states:
                self._ensure_state(name, x)

    def _axis(self, ndim: int) -> int:
        """Return the neuron dimension of a step of `ndim` dimensions, counted from the front."""
        if not -ndim <= self.dim < ndim:
            raise ValueError(f"{self._where}: dim={self.dim} is out of range for one step of {ndim} dimensions "
                             f"(allowed are {-ndim} to {ndim - 1})")
        return self.dim % ndim

    def _check_state(self, name: str, state: Tensor, shape: tuple[int, ...], device: torch.device) -> None:
        if tuple(state.shape) != shape:
            raise ValueError(f"{self._where}: state {name!r} holds shape {list(state.shape)}, but this input needs "
                             f"{list(shape)}; call zero_states() before a new batch of another size")
        if state.device != device:
            raise ValueError(f"{self._where}: state {name!r} is on {state.device}, the input on {device}; "
                             f"move the layer with .to({str(device)!r}) or call zero_states()")

    def shape_fault(self, path: str, name: str, value: Tensor) -> list[str]:
        """Say where a state to be loaded does not fit the one that is held, or the number of neurons."""
        if name in self.optional_states:
            return [] if value.shape == (2,) else [f"{path} must have shape [2], got {list(value.shape)}"]
        held = getattr(self, name)
        if held is not None and held.shape != value.shape:
            return [f"{path} has shape {list(value.shape)}, the layer's has {list(held.shape)}"]
        if value.ndim == 0 or not -value.ndim <= self.dim < value.ndim or value.shape[self.dim] != self.num_neurons:
            return [f"{path} has shape {list(value.shape)}, expected {self.num_neurons} along dim={self.dim}"]
        return []

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> StateHolder:
        super()._apply(fn, recurse)
        for name, state in list(self.live_states()):
            moved = fn(state)
            if moved.dtype != state.dtype and not state.is_floating_point():     # module.type(...) casts all it finds
                moved = state.to(moved.device)
            if moved.dtype != state.dtype and moved.requires_grad:
                moved = _Cast.apply(moved, f"{self._where}: state {name!r}")
            setattr(self, name, moved)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle states without the graph behind them."""
        return {**self.__dict__, **{name: state.detach() for name, state in self.live_states()}}


class _Cast(torch.autograd.Function):
    """A state that was cast with its layer: what lies behind it was computed with parameters that are no more."""

    @staticmethod
    def forward(ctx, state: Tensor, where: str):
        ctx.where = where
        return state.view_as(state)

    @staticmethod
    def backward(ctx, grad):
        raise RuntimeError(f"{ctx.where} was carried across a change of the layer's dtype, and no gradient leads back "
                           "through that; call detach_states() or zero_states() when you cast a layer")


CONTAINERS = (list, tuple, set, dict)
_OWN = frozenset(vars(nn.Module()))


def named_holders(module: nn.Module) -> Iterator[tuple[str, StateHolder]]:
    """Yield the path and the layer of every tracetorch layer in a module, the module itself included.

    Also of layers in plain lists, tuples, sets and dicts, `hidden[0]`, of which it warns.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(module).__name__}")
    known = set() if isinstance(module, StateHolder) else set(module.modules())
    for path, child in module.named_modules():
        if isinstance(child, StateHolder):
            yield path, child
        elif known:
            for place, hidden in hidden_modules(child, known):
                for inside, layer in named_holders(hidden):
                    yield _join(_join(path, place), inside), layer


def hidden_modules(module: nn.Module, known: set[nn.Module]) -> list[tuple[str, nn.Module]]:
    """Return the path and the module of what holds layers in a plain container of a module, and warn of it."""
    hidden = []
    for name, value in vars(module).items():
        if isinstance(value, CONTAINERS) and name not in _OWN:
            found = [(path, inner) for path, inner in _inside(name, value)
                     if inner not in known and any(isinstance(part, StateHolder) for part in inner.modules())]
            if found:
                warnings.warn(f"{type(module).__name__}.{name} holds layers in a plain {type(value).__name__}: their "
                              "states are found, but their parameters are not part of the model, and no optimizer or "
                              f"state_dict sees them; write self.{name} = "
                              f"nn.Module{'Dict' if isinstance(value, dict) else 'List'}(...)",
                              stacklevel=users_level())
            hidden += found
    return hidden


def _inside(path: str, value: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield the path and the module of every module in a container and in the containers inside."""
    if isinstance(value, nn.Module):
        yield path, value
    elif isinstance(value, CONTAINERS):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _inside(f"{path}[{key}]", item)


def zero_states(module: nn.Module) -> None:
    """Forget the states of all layers in a module: they are None until the next step.

    Args:
        module: a layer, or any module with layers inside.

    Raises:
        TypeError: no module.
    """
    compiling = torch.compiler.is_compiling()
    for _, layer in named_holders(module):
        for name in layer.state_names:
            # torch.compile would ask the state it looks at for a gradient, which warns
            if compiling or layer.__dict__.get(name) is not None:
                layer._zero_state(name)


def detach_states(module: nn.Module) -> None:
    """Cut the graph behind the states of all layers in a module; the values stay.

    Args:
        module: a layer, or any module with layers inside.

    Raises:
        TypeError: no module.
    """
    for _, layer in named_holders(module):
        for name in layer.state_names:
            layer._detach_state(name)


def save_states(module: nn.Module) -> dict[str, Tensor]:
    """Return detached copies of all states in use, by path and name (`"1.mem"`).

    Args:
        module: a layer, or any module with layers inside.

    Raises:
        TypeError: no module.
    """
    return {_join(path, name): state.detach().clone()
            for path, layer in named_holders(module) for name, state in layer.live_states()}


def load_states(module: nn.Module, states: dict[str, Tensor], strict: bool = True,
                device: torch.device | str | None = None) -> None:
    """Take over states from `save_states`; a load that fails changes nothing.

    Args:
        module: a layer, or any module with layers inside.
        states: from `save_states`, or from `torch.load(path, weights_only=True)`, also of traceTorch 0.19; `{}`, as
            saved before any step, forgets all states if strict.
        strict: False passes over names that are missing or that the module does not have.
        device: where to put them; without it, where the layer's parameters are.

    Raises:
        TypeError: no dict, or something in it is no tensor.
        ValueError: names that are missing, superfluous (both only if strict) or of the wrong shape; all are listed.
    """
    if not isinstance(states, Mapping):
        raise TypeError(f"load_states: expected a dict of tensors by path and name, as save_states gives, got "
                        f"{type(states).__name__}; zero_states() forgets all states")
    states = _once(states)
    slots = {_join(path, name): (layer, name) for path, layer in named_holders(module) for name in layer.state_names}
    optional = {full for full, (layer, name) in slots.items() if name in layer.optional_states}
    faults = []
    if strict:
        faults += [f"missing {name}" for name in slots if states and name not in states and name not in optional]
        faults += [f"unknown {name}" for name in states if name not in slots]
    found = {name: value for name, value in states.items() if name in slots}
    for full, value in found.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"load_states: {full} must be a tensor, got {type(value).__name__}")
        layer, name = slots[full]
        faults += layer.shape_fault(full, name, value)
    if faults:
        raise ValueError(f"load_states: {'; '.join(faults)}. Nothing was loaded; pass strict=False to load what "
                         "fits by name, and call zero_states() first where the batch size has changed")
    for full, (layer, name) in slots.items():
        if full in found:
            setattr(layer, name, found[full].detach().clone().to(device or _device_of(layer, found[full])))
        elif full in optional or (strict and not states):
            setattr(layer, name, None)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _once(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return states under one name each: traceTorch 0.19 saves `net.1.mem` as `net._modules[1].mem` as well."""
    repeated_first = sorted(states, key=lambda name: "._modules[" not in name)
    return {re.sub(r"\._modules\[([^]]*)]", r".\1", name).lstrip("."): states[name] for name in repeated_first}


def _device_of(layer: nn.Module, default: Tensor) -> torch.device:
    held = [*layer.parameters(), *layer.buffers()]
    return held[0].device if held else default.device

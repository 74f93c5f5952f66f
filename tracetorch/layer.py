"""Layers: parameters behind unconstrained raw tensors, states carried between calls, and a neuron dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from . import folding
from .stages import Bias, Decay, Parameter, Positive
from .stages.parameters import identity

Transform = Callable[[Tensor], Tensor]


class Layer(nn.Module):
    """A module with states: what every tracetorch layer is, hand-written ones included.

    A hand-written layer registers its states with `_initialize_state`, its parameters with
    `_register_parameter`, and begins `forward` with `self._ensure_states(x)`.

    Args:
        num_neurons: number of neurons along `dim`, 1 or more.
        dim: the neuron dimension of one step's tensor, counted from either end.

    Raises:
        TypeError, ValueError: `num_neurons` is not a whole number above 0, or `dim` not a whole number.
    """

    _optional_states: tuple[str, ...] = ()
    """States that are there only where they are needed, such as that of random numbers."""

    def __init__(self, num_neurons: int, dim: int = -1) -> None:
        super().__init__()
        self._state_names: list[str] = []
        self._transforms: dict[str, tuple[Transform, Transform]] = {}
        self._compiled: dict[str, bool | None] | None = None
        for name, value in (("num_neurons", num_neurons), ("dim", dim)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{self._where}: {name} must be a whole number, got {value!r}")
        if num_neurons < 1:
            raise ValueError(f"{self._where}: num_neurons must be 1 or more, got {num_neurons}")
        self.num_neurons = num_neurons
        self.dim = dim

    def extra_repr(self) -> str:
        return f"{self.num_neurons}" + (f", dim={self.dim}" if self.dim != -1 else "")

    @property
    def _where(self) -> str:
        return type(self).__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_recomputation()
        fold = folding.active()
        if fold is not None and fold.takes(self):
            return fold.step_through(self, *args, **kwargs)
        return super().__call__(*args, **kwargs)

    def _refuse_recomputation(self) -> None:
        """Raise inside a backward pass: states have moved on since the forward that it recomputes."""
        if not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1:
            raise RuntimeError(
                f"{self._where}: called during a backward pass, as torch.utils.checkpoint does to recompute a forward; "
                "the states have moved on since, so it would get other numbers. Inside a checkpoint use layer.step "
                "with explicit states, or leave the checkpoint out: tt.scan keeps little for its backward")

    # -- parameters -----------------------------------------------------------------

    def _register_parameter(self, name: str, value: float | Tensor, rank: int, learnable: bool,
                            init_fn: Transform = identity, inverse_fn: Transform = identity,
                            activation_fn: Transform = identity) -> None:
        """Store `init_fn(value)` as `raw_{name}`; `self.{name}` is `activation_fn(raw)`.

        Args:
            value: a number, or a tensor of shape [] or [num_neurons], which sets its own rank and keeps its dtype.
            rank: 0 one value for all neurons, 1 one per neuron.
            learnable: a parameter if True, else a buffer.
            init_fn, inverse_fn, activation_fn: from value to raw at first, from value to raw later, from raw to value.
        """
        raw = init_fn(self._spread(name, value, rank)).detach().clone()
        self._transforms[name] = (activation_fn, inverse_fn)
        self._set_raw(name, raw, True if learnable else None)

    def _spread(self, name: str, value: float | Tensor, rank: int, dtype: torch.dtype | None = None,
                device: torch.device | str | None = None) -> Tensor:
        """Return the value as a tensor of shape [] or [num_neurons]."""
        shape = (self.num_neurons,)
        if isinstance(value, Tensor):
            if tuple(value.shape) not in ((), shape):
                raise ValueError(f"{self._where}: {name} must have shape [] or [{self.num_neurons}] (num_neurons), "
                                 f"got {list(value.shape)}")
            if not value.is_floating_point():
                raise TypeError(f"{self._where}: {name} must be a floating-point tensor, got {value.dtype}; "
                                f"write {name}.float()")
            return value.detach().to(device=device or value.device, dtype=dtype or value.dtype)
        if rank not in (0, 1) or isinstance(rank, bool):
            raise ValueError(f"{self._where}: {name}_rank must be 0 (one value) or 1 (one per neuron), got {rank!r}")
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"{self._where}: {name} must be a number or a tensor, got {value!r}") from None
        return torch.full(shape if rank else (), number, dtype=dtype or torch.get_default_dtype(), device=device)

    def _set_raw(self, name: str, raw: Tensor, requires_grad: bool | None) -> None:
        if requires_grad is None:
            self.register_buffer(f"raw_{name}", raw)
        else:
            self.register_parameter(f"raw_{name}", nn.Parameter(raw, requires_grad=requires_grad))

    def __getattr__(self, name: str) -> Any:
        transforms = self.__dict__.get("_transforms", {})
        if name in transforms and name not in self.__dict__["_buffers"]:
            return transforms[name][0](super().__getattr__(f"raw_{name}"))
        return super().__getattr__(name)

    def TTcompile(self) -> None:
        """Replace every `raw_` tensor by a buffer with its value, for inference; `TTdecompile` takes it back."""
        if self._compiled is not None:
            return
        self._compiled = {}
        for name in self._transforms:
            raw, value = getattr(self, f"raw_{name}"), getattr(self, name)
            self._compiled[name] = raw.requires_grad if isinstance(raw, nn.Parameter) else None
            delattr(self, f"raw_{name}")
            self.register_buffer(name, value.detach().clone())

    def TTdecompile(self) -> None:
        """Undo `TTcompile`: the values become `raw_` parameters and buffers again."""
        if self._compiled is None:
            return
        raws = {name: self._transforms[name][1](getattr(self, name)).detach().clone() for name in self._compiled}
        for name, requires_grad in self._compiled.items():
            delattr(self, name)
            self._set_raw(name, raws[name], requires_grad)
        self._compiled = None

    # -- states ---------------------------------------------------------------------

    def _initialize_state(self, name: str) -> None:
        """Register a state; it is None until it is used."""
        if name not in self._state_names:
            self._state_names.append(name)
        setattr(self, name, None)

    def _live_states(self) -> Iterator[tuple[str, Tensor]]:
        for name in self._state_names:
            value = getattr(self, name)
            if value is not None:
                yield name, value

    def _ensure_states(self, x: Tensor) -> None:
        """Fill every state that is None with zeros shaped like `x`, with `num_neurons` along `dim`."""
        shape = list(x.shape)
        shape[self._axis(x.ndim)] = self.num_neurons
        for name in self._state_names:
            state = getattr(self, name)
            if name in self._optional_states:
                continue
            if state is None:
                setattr(self, name, torch.zeros(shape, dtype=x.dtype, device=x.device))
            else:
                self._check_state(name, state, tuple(shape), x.device)

    def _check_state(self, name: str, state: Tensor, shape: tuple[int, ...], device: torch.device) -> None:
        if tuple(state.shape) != shape:
            raise ValueError(f"{self._where}: state {name!r} holds shape {list(state.shape)}, but this input needs "
                             f"{list(shape)}; call zero_states() before a new batch of another size")
        if state.device != device:
            raise ValueError(f"{self._where}: state {name!r} is on {state.device}, the input on {device}; "
                             f"move the layer with .to({str(device)!r}) or call zero_states()")

    def zero_states(self) -> None:
        """Forget all states: they are None until the next step."""
        for name in self._state_names:
            setattr(self, name, None)

    def detach_states(self) -> None:
        """Cut the graph behind all states, which keep their values."""
        for name, state in list(self._live_states()):
            setattr(self, name, state.detach())

    def save_states(self) -> dict[str, Tensor]:
        """Return detached copies of all states in use, by name."""
        from .model import save_states
        return save_states(self)

    def load_states(self, states: dict[str, Tensor], strict: bool = True,
                    device: torch.device | str | None = None) -> None:
        """Take over states from `save_states`; see `tt.load_states`."""
        from .model import load_states
        load_states(self, states, strict, device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Layer:
        super()._apply(fn, recurse)
        for name, state in list(self._live_states()):
            moved = fn(state)
            if moved.dtype != state.dtype and not state.is_floating_point():     # module.type(...) casts all it finds
                moved = state.to(moved.device)
            setattr(self, name, moved)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle states without the graph behind them."""
        return {**self.__dict__, **{name: state.detach() for name, state in self._live_states()}}

    # -- the neuron dimension -------------------------------------------------------

    def _axis(self, ndim: int) -> int:
        if not -ndim <= self.dim < ndim:
            raise ValueError(f"{self._where}: dim={self.dim} is out of range for one step of {ndim} dimensions "
                             f"(allowed are {-ndim} to {ndim - 1})")
        return self.dim % ndim

    def _to_working_dim(self, tensor: Tensor) -> Tensor:
        """Move the neuron dimension to the end."""
        return tensor.movedim(self.dim, -1)

    def _from_working_dim(self, tensor: Tensor) -> Tensor:
        """Move the last dimension back to the neuron dimension."""
        return tensor.movedim(-1, self.dim)


class SpikingLayer(Layer):
    """Base of hand-written spiking layers (`tt.snn.Layer`): decays, thresholds and biases by their constraint."""

    def _register_kind(self, kind: type[Parameter], name: str, value: float | Tensor, rank: int,
                       learnable: bool) -> None:
        declared = kind(0.0)

        def to_raw(v: Tensor) -> Tensor:
            return declared.raw(f"{self._where}: {name}", v.double()).to(v.dtype)

        self._register_parameter(name, value, rank, learnable, to_raw, declared.inverse, declared.activation)

    def _register_decay(self, name: str, value: float | Tensor, rank: int, learnable: bool) -> None:
        """Register a value in (0, 1)."""
        self._register_kind(Decay, name, value, rank, learnable)

    def _register_threshold(self, name: str, value: float | Tensor, rank: int, learnable: bool) -> None:
        """Register a value above 0."""
        self._register_kind(Positive, name, value, rank, learnable)

    def _register_bias(self, name: str, value: float | Tensor, rank: int, learnable: bool) -> None:
        """Register a bias."""
        self._register_kind(Bias, name, value, rank, learnable)

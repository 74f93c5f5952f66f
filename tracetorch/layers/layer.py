"""Layers: parameters behind unconstrained raw tensors, states carried between calls, and a neuron dimension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .. import current
from ..backends.choose import backend
from ..stages import Bias, Decay, Parameter, Positive
from ..stages.parameters import identity
from .states import StateHolder

Transform = Callable[[Tensor], Tensor]


class Layer(StateHolder):
    """A module with states: what every tracetorch layer is, hand-written ones included.

    A hand-written layer registers its states with `_initialize_state`, its parameters with
    `_register_parameter`, and begins `forward` with `self._ensure_states(x)`.

    Args:
        num_neurons: number of neurons along `dim`, 1 or more.
        dim: the neuron dimension of one step's tensor, counted from either end.

    Raises:
        TypeError, ValueError: `num_neurons` is not a whole number above 0, or `dim` not a whole number.
    """

    fuses = False
    """Whether a scan may run the layer as one kernel; one with a forward of its own is called step by step."""

    def __init__(self, num_neurons: int, dim: int = -1) -> None:
        super().__init__()
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

    parts: tuple[Layer, ...] = ()
    """Layers inside that are stepped and scanned as a part of this one."""
    stepped_because: str | None = None
    """Why a scan steps the layer in Python, where its user may not expect that; a scan says so once."""

    @property
    def recordable(self) -> tuple[str, ...]:
        """The names whose values over time a scan can return."""
        return tuple(name for name in self.state_names if name not in self.optional_states)

    def start_of(self, name: str) -> float:
        """Return what a state is filled with at its first step."""
        return 0.0

    def initial_states(self, x: Tensor) -> dict[str, Tensor]:
        """Return the states with which the first step on `x` begins, all that `step` takes and gives.

        Args:
            x: input of one step, as `step` takes it; its numbers don't matter.

        Returns:
            A tensor shaped like `x` for each state, in the dtype of the computation; where a step draws random numbers
            also `rng`, the seed and position of a new stream.

        Raises:
            TypeError: the layer is written by hand and has no `step`, or `x` is no floating-point tensor.
            ValueError: `x` has another number of neurons.
        """
        step = getattr(self, "step", None)
        if step is None:
            raise TypeError(f"{self._where}: initial_states needs a `step` that takes and returns states, and this "
                            "layer has none; call the layer itself")
        with torch.no_grad(), backend("eager"):
            _, after = step(x)
        states = {name: torch.full_like(state, self.start_of(name))
                  for name, state in after.items() if name not in self.optional_states}
        if "rng" in after:
            states["rng"] = after["rng"] * torch.tensor([1, 0], device=x.device)     # the seed, before the first step
        return states

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.refuse_recomputation()
        scan = current.running()
        if scan is not None and not self.fuses:
            return scan.scan(self, *args, **kwargs)
        return super().__call__(*args, **kwargs)

    def refuse_recomputation(self) -> None:
        """Raise inside a backward pass: states have moved on since the forward that it recomputes."""
        if not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1:
            raise RuntimeError(
                f"{self._where}: called during a backward pass, as torch.utils.checkpoint does to recompute a forward; "
                "the states have moved on since, so it would get other numbers. Inside a checkpoint use layer.step "
                "with explicit states, or leave the checkpoint out: tt.scan keeps little for its backward")

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

    def _register_declared(self, name: str, declared: Parameter, value: float | Tensor, rank: int, learnable: bool,
                           dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> None:
        """Store a value in the range of a kind of parameter, behind that kind's activation."""
        spread = self._spread(name, value, rank, dtype, device)
        raw = declared.raw(f"{self._where}: {name}", precise(spread)).to(spread)
        self._transforms[name] = (declared.activation, declared.inverse)
        self._set_raw(name, raw.clone(), True if learnable else None)

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
            return transforms[name][0](getattr(self, f"raw_{name}"))
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_transforms", ()) and not isinstance(value, property):
            self._assign(name, value)
        else:
            super().__setattr__(name, value)

    def _assign(self, name: str, value: float | Tensor) -> None:
        """Set the value of a parameter, in its dtype and shape."""
        stored = getattr(self, name if self._compiled is not None else f"raw_{name}")
        if isinstance(value, Tensor) and value.requires_grad:
            raise ValueError(f"{self._where}: {name} takes a value, no graph: assign {name}.detach(), or learn "
                             f"raw_{name}")
        new = self._spread(name, value, 0 if stored.ndim == 0 else 1, stored.dtype, stored.device)
        if new.ndim > stored.ndim:
            raise ValueError(f"{self._where}: {name} is one value for all neurons, got shape {list(new.shape)}; make "
                             f"the layer with {name}_rank=1")
        with torch.no_grad():
            stored.copy_(new if self._compiled is not None else self._to_raw(name, new))

    def _to_raw(self, name: str, value: Tensor) -> Tensor:
        return self._transforms[name][1](value)

    def TTcompile(self) -> None:
        """Replace every `raw_` tensor by a buffer with its value, for inference; `TTdecompile` takes it back."""
        if self._compiled is not None:
            return
        for name in self._transforms:
            if f"raw_{name}" not in self._parameters and f"raw_{name}" not in self._buffers:
                raise RuntimeError(f"{self._where}: raw_{name} is computed from another tensor (pruned, parametrized); "
                                   "make that permanent first, with torch.nn.utils.prune.remove or "
                                   "torch.nn.utils.parametrize.remove_parametrizations")
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

    def _to_working_dim(self, tensor: Tensor) -> Tensor:
        """Move the neuron dimension to the end."""
        return tensor.movedim(self.dim, -1)

    def _from_working_dim(self, tensor: Tensor) -> Tensor:
        """Move the last dimension back to the neuron dimension."""
        return tensor.movedim(-1, self.dim)


def computed_by(hook: Any) -> str | None:
    """Return the name of the tensor that a hook of torch.nn.utils computes (pruned, or normalised the old way).

    None for any other hook.
    """
    return getattr(hook, "_tensor_name", getattr(hook, "name", None))


def precise(value: Tensor) -> Tensor:
    """Return a value in float64; on the CPU where its device, such as MPS, has no float64."""
    try:
        return value.double()
    except TypeError:
        return value.cpu().double()


class SpikingLayer(Layer):
    """Base of hand-written spiking layers (`tt.snn.Layer`): decays, thresholds and biases by their constraint.

    `_register_decay`, `_register_threshold` and `_register_bias` take the name, a number or a tensor of shape [] or
    [num_neurons], the rank (1 for one value per neuron, 0 for one for all) and whether the value is learned.

    Args:
        num_neurons: number of neurons along `dim`, 1 or more.
        dim: the neuron dimension of one step's tensor, counted from either end.

    Raises:
        TypeError, ValueError: as for `tt.Layer`.
    """

    def _register_decay(self, name: str, value: float | Tensor, rank: int, learnable: bool) -> None:
        """Register a value in (0, 1)."""
        self._register_declared(name, Decay(0.5), value, rank, learnable)

    def _register_threshold(self, name: str, value: float | Tensor, rank: int, learnable: bool) -> None:
        """Register a value above 0."""
        self._register_declared(name, Positive(1.0), value, rank, learnable)

    def _register_bias(self, name: str, value: float | Tensor, rank: int, learnable: bool) -> None:
        """Register a bias."""
        self._register_declared(name, Bias(0.0), value, rank, learnable)

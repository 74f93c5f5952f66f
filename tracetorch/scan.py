"""scan: run a layer, or any module with layers inside, over a whole sequence."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from . import backends, current
from .check import check_folding, glance, plain_attributes, warn_of_changes
from .layers.layer import Layer
from .layers.model import named_layers
from .padding import checked_lengths, masked
from .pipeline import States

_NOTHING = nullcontext()


def scan(module: nn.Module, x: Tensor, *, time_dim: int = 0, backend: str = "auto",
         record: tuple[str, ...] | str = (), lengths: Tensor | list[int] | None = None,
         fold: bool = True, check: bool | None = None) -> Any:
    """Run a module over a sequence: the same numbers as calling it once per step, fused over time.

        y[0], y[1], ... = module(x[0]), module(x[1]), ...

        y = tt.scan(nn.Sequential(nn.Linear(8, 16), tt.snn.LIB(16)), torch.randn(100, 32, 8))     # [100, 32, 16]

    A layer is scanned directly. Any other module runs its forward once on time folded into the batch, and the
    layers inside unfold time; its other parts must treat the elements of a batch independently. Batch statistics
    and dropout masks then cover all of time at once. States are carried on as in stepping.

    Forward hooks: those of a layer that is scanned directly are not called. Inside a module hooks run once, on the
    folded [T*B, ...]; with `fold=False` at every step.

    Args:
        module: a layer, or any module; then `x` needs a batch dimension after time.
        x: [T, ...] for a layer, [T, B, ...] for another module; T is 1 or more.
        time_dim: where time lies in `x`, in the output and in the recordings; nothing is copied for it on the CPU.
        backend: "auto" (fused where possible), "eager", "cpp" or "triton".
        record: names of states or shared names ("mem", "potential") to return over time as well; in a module
            with several layers they apply to each layer that has them, or to one as in "1.mem".
        lengths: [B] whole numbers for a padded batch, x being [T, B, ...] (the batch first in a step): past its length
            an element's output is zero, its states stay, and whatever the padding holds has no effect.
        fold: False steps through time in Python instead of folding.
        check: True steps all of x as well, on a copy, and raises where folding gives something else. Without it the
            first scan of a module is compared on a few steps of two elements, where that is cheap. False does not
            compare: for a module that is meant to see all of time at once.

    Returns:
        The output [T, ...], in the dtype that stepping gives: of a layer, the wider one of `x` and its parameters. With
        `record` the pair of it and a dict of recordings [T, ...], in the dtype of the states.

    Raises:
        TypeError: no module, or no tensor.
        ValueError: sizes that don't fit, time of length 0, a name that can't be recorded, folding that gives
            something else than stepping.
        RuntimeError: a layer called twice in one forward, or a backend that can't run.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"tt.scan: expected a torch.nn.Module, got {type(module).__name__}")
    names = (record,) if isinstance(record, str) else tuple(record)
    steps = _time_first(module, x, time_dim)
    if isinstance(module, Layer) and module.fuses and not (names or time_dim or lengths is not None):
        module.refuse_recomputation()
        with _NOTHING if backend == "auto" else backends.backend(backend):
            return module.advance(steps, steps.shape[1:])
    run = Run(module, steps.shape[:2], names, None if lengths is None else checked_lengths(lengths, steps),
              "b t" if time_dim == 1 else "t b")
    with _NOTHING if backend == "auto" else backends.backend(backend):
        before = _checked(module, steps, check) if fold and not isinstance(module, Layer) else None
        with run:
            y = run.all_at_once(steps) if fold or isinstance(module, Layer) else run.one_by_one(steps)
            recordings = run.recordings
            if time_dim != 0:
                y, recordings = tree_map(lambda v: _time_back(module, v, time_dim), (y, recordings))
    if before is not None:
        warn_of_changes(module, before)
    return (y, recordings) if names else y


def _checked(module: nn.Module, x: Tensor, check: bool | None) -> dict | None:
    """Check that a module may be folded; return what to compare afterwards where that could not be found out."""
    if check:
        check_folding(module, x, _run)
    if check is not None or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return None
    return None if glance(module, x, _run) else plain_attributes(module)


def _run(module: nn.Module, x: Tensor, folded: bool) -> Any:
    run = Run(module, x.shape[:2])
    return run.all_at_once(x) if folded else run.one_by_one(x)


def _time_first(module: nn.Module, x: Tensor, time_dim: int) -> Tensor:
    """Return `x` with time as its first dimension."""
    if not isinstance(x, Tensor):
        raise TypeError(f"tt.scan: the input must be a tensor, got {type(x).__name__}")
    if current.running() is not None:
        raise RuntimeError("tt.scan was called inside a module that is being scanned; the outer scan already "
                           "covers the layers inside: call the layer itself")
    least = 1 if isinstance(module, Layer) else 2
    if x.ndim < least:
        wanted = "[T, ...]" if least == 1 else "[T, B, ...]"
        raise ValueError(f"tt.scan: {type(module).__name__} needs x of shape {wanted}, got {list(x.shape)}")
    if not -x.ndim <= time_dim < x.ndim:
        raise ValueError(f"tt.scan: time_dim={time_dim} is out of range for x of shape {list(x.shape)}")
    if x.shape[time_dim] == 0:
        raise ValueError(f"tt.scan: time has length 0 (x has shape {list(x.shape)}, time_dim={time_dim})")
    return x.movedim(time_dim, 0) if time_dim else x


def _time_back(module: nn.Module, y: Any, time_dim: int) -> Any:
    """Return `y` [T, ...] with time at `time_dim`."""
    if not isinstance(y, Tensor):
        return y
    if not -y.ndim <= time_dim < y.ndim:
        raise ValueError(f"tt.scan: {type(module).__name__} gives {list(y.shape)}, time in front, where time can't go "
                         f"to time_dim={time_dim}; count from the end with a negative time_dim, or scan "
                         f"x.movedim({time_dim}, 0)")
    return y.movedim(0, time_dim)


class Run:
    """One scan of a module: what its layers do while time is folded into the batch."""

    def __init__(self, module: nn.Module, shape: torch.Size, record: tuple[str, ...] = (),
                 lengths: Tensor | None = None, order: str = "t b") -> None:
        self.module, self.record, self.lengths = module, record, lengths
        self.folded = f"({order}) ..."       # as the input lies, so that folding copies nothing
        self.length = shape[0]
        self.batch = shape[1] if len(shape) > 1 else 1
        self.recordings: States = {}
        self._before: dict[Layer, dict[str, Tensor | None]] = {}
        if record:
            self._check_record()

    @cached_property
    def _paths(self) -> dict[Layer, str]:
        """Where each layer lies in the module."""
        return {layer: path for path, layer in named_layers(self.module)}

    def _check_record(self) -> None:
        """Raise ValueError where no layer has what is to be recorded."""
        known = {name for layer, path in self._paths.items() for full in layer.recordable
                 for name in ((full, f"{path}.{full}") if path else (full,))}
        for name in self.record:
            if name not in known:
                pair = [f"{sign}_{name}" for sign in ("pos", "neg") if f"{sign}_{name}" in known]
                hint = f" ({name!r} is a pair here: record {pair})" if pair else ""
                raise ValueError(f"tt.scan: nothing called {name!r} to record{hint}; there are "
                                 f"{', '.join(sorted(known))}")

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: Any, *exc: Any) -> None:
        """Put every state back where the scan has failed."""
        if kind is not None:
            for layer, states in self._before.items():
                layer.carry_states(states)  # type: ignore[arg-type]

    def all_at_once(self, x: Tensor) -> Any:
        """Run a layer over [T, ...], or another module's forward once on [T*B, ...]."""
        if isinstance(self.module, Layer):
            return self._steps(self.module, x)
        outer = current.swap(self)
        try:
            y = self.module(rearrange(x, f"t b ... -> {self.folded}"))
        finally:
            current.swap(outer)
        return tree_map(self._unfold_output, y)

    def one_by_one(self, x: Tensor) -> Any:
        """Call the module once per step."""
        for layer in self._paths:
            self._touch(layer)
        ys = self._stepped(self.module, x, list(self._paths))
        return tree_map(self._stack_outputs, *ys)

    def scan(self, layer: Layer, x: Tensor) -> Tensor:
        """Run a layer, called inside the module, on its folded input."""
        return rearrange(self._steps(layer, self._unfold(layer, x)), f"t b ... -> {self.folded}")

    def _steps(self, layer: Layer, x: Tensor) -> Tensor:
        """Run a layer over [T, ...], keep its states, and note what is recorded."""
        if not layer.fuses:
            return self._hand_written(layer, x)
        self._touch(layer)
        wanted = self._wanted(layer)
        y, new, recordings = layer.scan(x, layer.carried_states(), tuple(wanted), self.lengths)
        layer.carry_states(new)
        self.recordings.update({wanted[name]: recording for name, recording in recordings.items()})
        return y

    def _hand_written(self, layer: Layer, x: Tensor) -> Tensor:
        layers = [inner for _, inner in named_layers(layer)]
        for inner in layers:
            self._touch(inner)
            if inner.stepped_because and backends.requested() != "eager":
                backends.say_once(type(inner).__name__, inner.stepped_because)
        outer = current.swap(None)
        try:
            return masked(torch.stack(self._stepped(layer, x, layers)), self.lengths)
        finally:
            current.swap(outer)

    def _stack_outputs(self, *ys: Any) -> Any:
        """Stack [...] of every step to [T, ...]; of what is no tensor, the last."""
        return masked(torch.stack(ys), self.lengths) if isinstance(ys[0], Tensor) else ys[-1]

    def _stepped(self, module: nn.Module, x: Tensor, layers: list[Layer]) -> list[Any]:
        """Call a module once per step, holding the states of elements that have ended."""
        ys = []
        for t, x_t in enumerate(x.unbind(0)):
            before = [layer.carried_states() for layer in layers]
            ys.append(module(x_t))
            for layer, old in zip(layers, before, strict=True):
                if self.lengths is not None:
                    _hold(layer, old, t < self.lengths)
                self._collect(layer)
        self.recordings = {k: torch.stack(v) if isinstance(v, list) else v for k, v in self.recordings.items()}
        return ys

    def _touch(self, layer: Layer) -> None:
        """Remember a layer's states as they were."""
        layer.refuse_recomputation()
        if layer in self._before:
            raise RuntimeError(
                f"tt.scan: {type(layer).__name__} {self._paths.get(layer, '')!r} is called twice in one forward; its "
                "second call would need the states of the first, step by step: use two layers, or fold=False")
        self._before[layer] = layer.carried_states()

    def _wanted(self, layer: Layer) -> dict[str, str]:
        """Return what to record of a layer: its own names, and the names in the result."""
        if not self.record:
            return {}
        path = self._paths.get(layer, "")
        prefix = "" if layer is self.module else f"{path}."
        return {name: prefix + name for name in layer.recordable
                if name in self.record or f"{path}.{name}" in self.record}

    def _collect(self, layer: Layer) -> None:
        """Append the recorded states of a layer that is stepped."""
        wanted = self._wanted(layer)
        states = layer.carried_states() if wanted else {}
        for name, key in wanted.items():
            if name not in states:
                raise ValueError(f"tt.scan: {name!r} can't be recorded where {type(layer).__name__} is stepped; "
                                 f"its states can: {', '.join(states)}")
            self.recordings.setdefault(key, []).append(states[name])  # type: ignore[attr-defined,arg-type]

    def _unfold(self, layer: Layer, x: Tensor) -> Tensor:
        """Give time its dimension back: [T*B, ...] -> [T, B, ...]."""
        if x.ndim == 0 or x.shape[0] != self.length * self.batch:
            raise ValueError(
                f"tt.scan: {type(layer).__name__} {self._paths.get(layer, '')!r} got an input of shape "
                f"{list(x.shape)}, whose first size should be T*B = {self.length}*{self.batch}; the module around it "
                "must keep the batch dimension first. Use fold=False for a module that does not")
        return rearrange(x, f"{self.folded} -> t b ...", t=self.length, b=self.batch)

    def _unfold_output(self, y: Any) -> Any:
        if not isinstance(y, Tensor):
            return y
        if y.ndim == 0 or y.shape[0] != self.length * self.batch:
            raise ValueError(f"tt.scan: {type(self.module).__name__} returned shape {list(y.shape)}, whose first size "
                             f"should be T*B = {self.length}*{self.batch}; use fold=False for a module that mixes "
                             "its batch")
        return masked(rearrange(y, f"{self.folded} -> t b ...", t=self.length, b=self.batch), self.lengths)


def _hold(layer: Layer, old: dict[str, Tensor | None], live: Tensor) -> None:
    """Take the last step of a layer back for the elements that are not live."""
    held = {}
    for name, state in layer.carried_states().items():
        if state is not None and name not in layer.optional_states:
            before = old.get(name)
            before = torch.full_like(state, layer.start_of(name)) if before is None else before
            held[name] = torch.where(live.view(-1, *[1] * (state.ndim - 1)), state, before)     # live [B, 1..]
    layer.carry_states(held)

"""explain: which backend would run each layer of a module, why not another, and the code made for it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from . import backends
from .backends.cpp.matrix.linear import Seen
from .backends.program import shape_of
from .fusion.cache import captured
from .fusion.capture import CannotCapture
from .layers.layer import Layer
from .layers.linear import Linear
from .layers.model import named_layers

if TYPE_CHECKING:
    from .backends.triton.aot import CompiledKernel

FUSING = ("cpp", "triton")


@dataclass(frozen=True)
class LayerExplanation:
    """How one layer would be scanned.

    Attributes:
        path: where the layer is in the module, "" for the module itself.
        name: name of its class.
        backend: what `backend="auto"` would choose, "cpp", "triton" or "eager".
        why_not: for each backend that cannot run it the reason, by name.
        operators: how many elementary operators one step has, forward and backward; None where it can't be captured.
        kept: what is kept for the backward pass, in words.
        kept_bytes: bytes kept per neuron and time step.
        source: the generated code, "" where there is none.
        kernels: on a GPU the compiled kernels, as `tt.aot` reports them.
        reading: whether the input is read as it lies in memory, or why it is copied; "" where none was given.
    """

    path: str
    name: str
    backend: str
    why_not: dict[str, str]
    operators: tuple[int, int] | None
    kept: str
    kept_bytes: float | None
    source: str
    kernels: tuple[CompiledKernel, ...] = ()
    reading: str = ""

    def __repr__(self) -> str:
        lines = [f"{self.path + ': ' if self.path else ''}{self.name} runs on {self.backend}"]
        lines += [f"  {name}: {reason}" for name, reason in self.why_not.items()]
        if self.operators:
            lines.append(f"  operators per step: {self.operators[0]} forward, {self.operators[1]} backward")
        lines.append(f"  kept for backward: {self.kept}")
        lines += [f"  the input is {self.reading}"] if self.reading else []
        lines += [f"  kernel {use}" for use in self.uses]
        return "\n".join([*lines, *(["", self.source] if self.source else [])])

    @property
    def uses(self) -> list[str]:
        """What each kernel needs of the GPU, in words."""
        return [f"{k.name}: {k.registers} registers, {k.spills} bytes spilled, {k.shared} bytes shared"
                for k in self.kernels]  # fmt: skip


@dataclass(frozen=True)
class LinearExplanation:
    """How the last call of one `tt.Linear` ran.

    Attributes:
        path: where it is in the module, "" for the module itself.
        seen: None where there was no call yet. Its `path` is "dense", "sparse" (zeros were skipped) or "torch" (as
            `nn.Linear`); `density` the fraction of the input that was not zero, of a sample, None where that decided
            nothing; `why` the reason for "torch".
    """

    path: str
    seen: Seen | None

    def __repr__(self) -> str:
        head = f"{self.path + ': ' if self.path else ''}Linear"
        return f"{head} ran {self.seen}" if self.seen else f"{head} has not been called yet"


@dataclass(frozen=True)
class Explanation:
    """How the layers of a module would be scanned; prints as text, and as a table in a notebook."""

    layers: tuple[LayerExplanation, ...]
    linears: tuple[LinearExplanation, ...] = ()

    def __repr__(self) -> str:
        linears = "\n".join(map(repr, self.linears))
        return "\n\n".join([*map(repr, self.layers), *([linears] if linears else [])]) or "no tracetorch layers"

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th>{title}</th>"
            for title in ("layer", "backend", "why not another", "operators", "kept for backward", "code")
        )
        linears = "".join(f"<p>{html.escape(repr(linear))}</p>" for linear in self.linears)
        return f"<table><tr>{head}</tr>{''.join(map(_row, self.layers))}</table>{linears}"


def explain(module: nn.Module, x: Tensor | None = None) -> Explanation:
    """Say for every layer of a module which backend would scan it, why not another, and show the generated code.

    Args:
        module: a layer, or any module with layers inside.
        x: an input [T, ...] of a layer, for its dtype and for how it lies in memory; float32 unless given. Of
            another module only the dtype counts.

    Returns:
        An object that prints as text and shows as a table in a notebook; `.layers` holds a LayerExplanation each, and
        `.linears` says of every `tt.Linear` how its last call ran.

    Raises:
        TypeError: no module, or `x` is no tensor.
    """
    if x is not None and not isinstance(x, Tensor):
        raise TypeError(f"tt.explain: the input must be a tensor, got {type(x).__name__}")
    dtype = torch.float32 if x is None else x.dtype
    layers = tuple(_explain(path, layer, dtype, x if layer is module else None) for path, layer in named_layers(module))
    linears = tuple(LinearExplanation(path, m.seen) for path, m in module.named_modules() if isinstance(m, Linear))
    return Explanation(layers, linears)


def _explain(path: str, layer: Layer, dtype: torch.dtype, x: Tensor | None) -> LayerExplanation:
    name = type(layer).__name__
    if not layer.fuses:
        reason = layer.stepped_because or "it has a forward of its own, which a scan calls step by step"
        everything = "every intermediate tensor of every step"
        return LayerExplanation(path, name, "eager", dict.fromkeys(FUSING, reason), None, everything, None, "")
    device = next((t.device for t in (*layer.parameters(), *layer.buffers())), torch.device("cpu"))
    plan = backends.decide(*layer.step_and_call(dtype, device))
    source, every = plan.program.outline() if plan.program else ("", None)
    compiled = getattr(backends.load(plan.backend), "compiled", None) if plan.program else None
    kernels = tuple(compiled(plan.step, plan.call)) if compiled else ()
    operators, kept, kept_bytes = _counts(plan, every)
    return LayerExplanation(path, name, plan.backend, _why_not(plan), operators, kept, kept_bytes, source, kernels,
                            "" if x is None else _reading(plan, layer, x))


def _reading(plan: backends.Plan, layer: Layer, x: Tensor) -> str:
    """Say whether an input [T, ...] is read as it lies or copied; nothing where no program runs over it."""
    program, ndim = plan.program, x.ndim - 1
    if program is None or ndim < 1 or not -ndim <= layer.dim < ndim or x.shape[1:][layer.dim] != layer.num_neurons:
        return ""
    _, found = program.lay(shape_of(len(x), x.shape[1:], layer.dim % ndim), layer.dim % ndim, x)
    if found.data_ptr() == x.data_ptr():
        return "read as it lies"
    if program.whole:
        return "copied once: this loop reads contiguous steps"
    order = " in the order in which random numbers are drawn" if program.draws else ""
    return f"copied once: its steps are neither contiguous nor pieces at one distance{order}"


def _why_not(plan: backends.Plan) -> dict[str, str]:
    """Return for each backend that fuses why it can't run the layer, by name."""
    found = dict(plan.why_not)
    for name in {*FUSING} - {plan.backend, *found}:
        try:
            backends.fused(name, plan.step, plan.call)
        except backends.Refused as error:
            found[name] = str(error)
    return {name: found[name] for name in FUSING if name in found}


def _counts(plan: backends.Plan, every: int | None) -> tuple[tuple[int, int] | None, str, float | None]:
    """Count a step's operators, and what a backward pass needs kept where states are kept once in `every` steps."""
    try:
        program = captured(plan.step.elementwise(), plan.dtype)
    except CannotCapture:
        return None, "every intermediate tensor of every step", None
    operators = len(program.forward.lines), len(program.backward.lines)
    if every is None:
        return operators, "every intermediate tensor of every step", None
    size = plan.io.itemsize + len(program.states) * plan.dtype.itemsize / every
    states = f"{len(program.states)} state{'s' * (len(program.states) != 1)}"
    return operators, f"the input, and {states} every {every} steps: {size:.2g} bytes per neuron and step", size


def _row(layer: LayerExplanation) -> str:
    reasons = "<br>".join(f"<b>{name}</b>: {html.escape(reason)}" for name, reason in layer.why_not.items())
    operators = f"{layer.operators[0]} forward, {layer.operators[1]} backward" if layer.operators else "not captured"
    text = html.escape("\n".join([*layer.uses, layer.source]))
    code = f"<details><summary>show</summary><pre>{text}</pre></details>" if layer.source else ""
    title = f"{html.escape(layer.path)} {html.escape(layer.name)}"
    cells = (title, layer.backend, reasons, operators, html.escape(layer.kept), code)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"

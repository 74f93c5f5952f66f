"""The C++ text of one captured step: what loop.h, forward.h and backward.h ask a generated file to define."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from ...fusion.capture import CapturedStep
from ...fusion.code import Body
from .dialect import CPP
from .slots import Slots, backward_slots, forward_slots
from .tape import tape

TYPES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.bfloat16: "tt::bfloat16",
    torch.float16: "tt::float16",
}


@dataclass(frozen=True)
class Layout:
    """What the text depends on besides the step.

    io: dtype of x and y. vectors: for each parameter, whether it has one value per neuron. derivatives: for each
    parameter, the derivative of its activation, where backward is to give the gradient of what is stored of it. fed:
    which state holds the last output, where that is led back to the input through a matrix.
    """

    io: torch.dtype
    vectors: tuple[bool, ...]
    derivatives: tuple[Body | None, ...]
    fed: int | None = None

    def order(self) -> list[int]:
        """The parameters as the kernel takes them: single values first."""
        return sorted(range(len(self.vectors)), key=self.vectors.__getitem__)


class Computed(NamedTuple):
    """Which gradients a compiled loop computes: of x, and of each parameter."""

    x: bool
    params: tuple[bool, ...]

    def of(self, layout: Layout) -> list[int]:
        """Return the parameters whose gradient is wanted, in the order of the kernel."""
        return [q for q in layout.order() if self.params[q]]


def forward_source(step: CapturedStep, layout: Layout) -> tuple[str, Slots]:
    """Return the C++ text of the scan forward in time, and where its arguments lie."""
    states = len(step.states)
    stores = ["tt::store(y_row[i], {});", *(f"next[{q} * W + i] = {{}};" for q in range(states))]
    stores += [f"recording[{q}][i] = {{}};" for q in range(len(step.record))]
    arguments = (
        "int w, const IO* x_row, const T* state, T* next, const Params& p, const Draw& draw, uint64_t first, "
        "IO* y_row, T* const* recording"
    )
    function = _function("forward", arguments, step, layout, step.forward, stores)
    slots = forward_slots(states, len(step.params), len(step.record), layout.fed is not None)
    return _file(step, layout, "forward", "", slots, [function]), slots


def backward_source(step: CapturedStep, layout: Layout, wanted: Computed) -> tuple[str, Slots]:
    """Return the C++ text of the scan backward in time, and where its arguments lie."""
    states, grads = len(step.states), wanted.of(layout)
    kept = [0] * wanted.x + [1 + q for q in range(states)] + [1 + states + q for q in grads]
    advance = step.forward.keep(range(1, 1 + states))
    taped, backward = tape(step.forward, step.backward.keep(kept))
    advance = step.forward.returning((*advance.outputs, *taped))

    row, common = "int w, const IO* x_row, const T* state, ", "const Params& p, const Draw& draw, uint64_t first"
    stores = [f"next[{q} * W + i] = {{}};" for q in range(states)]
    stores += [f"tape[{k} * W + i] = {{}};" for k in range(len(taped))]
    functions = [_function("advance", f"{row}T* next, T* tape, {common}", step, layout, advance, stores)]

    stores = ["tt::store(gx_row[i], {});"] * wanted.x + [f"gnext[{q} * W + i] = {{}};" for q in range(states)]
    stores += [f"sums[{k} * W + i] += {{}};" for k in range(len(grads))]
    arguments = (f"{row}const T* tape, {common}, const IO* gy_row, const T* const* grecording, T* gnext, T* sums, "
                 "IO* gx_row")
    functions.append(_function("backward", arguments, step, layout, backward, stores))
    functions.append(_through_activations([layout.derivatives[q] for q in grads]))
    flags = ", ".join(str(layout.vectors[q]).lower() for q in grads) or "false"
    extra = f"constexpr int TAPE = {len(taped)}, GRADS = {len(grads)};\n"
    extra += f"constexpr bool GRAD_IS_VECTOR[] = {{{flags}}};\n"
    slots = backward_slots(states, len(step.params), len(step.record), len(grads), layout.fed is not None)
    return _file(step, layout, "backward", extra, slots, functions), slots


def _file(step: CapturedStep, layout: Layout, loop: str, extra: str, slots: Slots, functions: list[str]) -> str:
    starts = ", ".join(CPP.literal(v) for v in step.starts) or "T(0)"
    body = "\n".join(functions)
    header = loop if layout.fed is None else f"feedback_{loop}"
    extra += f"constexpr int FED = {layout.fed};\n" if layout.fed is not None else ""
    return f"""\
// {step.name}: one time step {loop}, generated from its stages. The loop around it is in {header}.h.
#include "number.h"
using T = {TYPES[step.dtype]};
using IO = {TYPES[layout.io]};
constexpr int STATES = {len(step.states)}, RECORDINGS = {len(step.record)};
constexpr int SCALARS = {layout.vectors.count(False)}, VECTORS = {layout.vectors.count(True)};
constexpr T START[] = {{{starts}}};
{extra}{slots.enum()}
#include "loop.h"

namespace tt {{
struct Step {{
{body}
}};
}}  // namespace tt

#include "{header}.h"
"""


def _function(name: str, arguments: str, step: CapturedStep, layout: Layout, body: Body, stores: list[str]) -> str:
    lines, outputs = CPP.write(body)
    reads = body.reads()
    before: list[str] = []
    loads: list[str] = []
    for source, text in _sources(step, layout, body):
        if text in reads:
            (before if source.startswith("p.scalar") else loads).append(f"const T {text} = {source};")
    inside = loads + lines + [s.format(o) for s, o in zip(stores, outputs, strict=True)]
    return "\n".join(
        [f"  INLINE void {name}({arguments}) {{"]
        + [f"    {line}" for line in before]
        + ["    LANES(w) {"]
        + [f"      {line}" for line in inside]
        + ["    }", "  }"]
    )


def _through_activations(derivatives: list[Body | None]) -> str:
    """The function that turns gradients of values into gradients of what is stored, in place."""
    cases = []
    for k, body in enumerate(derivatives):
        if body is not None:
            lines, (output,) = CPP.write(body)
            loads = [f"const T {name.text} = {name.text}s[i];" for name in body.inputs]
            cases += [f"case {k}: LANES(w) {{", *(f"  {line}" for line in (*loads, *lines))]
            cases += [f"  {body.inputs[1].text}s[i] = {output};", "}", "break;"]
    arguments = "int gradient_of, int w, const T* raws, T* gradients"
    inside = [f"    {line}" for line in ("switch (gradient_of) {", *(f"  {line}" for line in cases), "}")]
    return "\n".join([f"  INLINE void through_activation({arguments}) {{", *inside, "  }"])


def _sources(step: CapturedStep, layout: Layout, body: Body) -> list[tuple[str, str]]:
    """Where each input of a body is read, in the order of its inputs."""
    place = {}
    for kind in (False, True):
        for k, q in enumerate(q for q in range(len(layout.vectors)) if layout.vectors[q] is kind):
            place[q] = f"p.vector[{k}][i]" if kind else f"p.scalar[{k}]"
    read = ["tt::load<T>(x_row[i])", *(f"state[{q} * W + i]" for q in range(len(step.states)))]
    read += [place[q] for q in range(len(step.params))]
    if len(body.inputs) > len(read):
        read += ["tt::load<T>(gy_row[i])", *(f"gnext[{q} * W + i]" for q in range(len(step.states)))]
        read += [f"grecording[{q}][i]" for q in range(len(step.record))]
        read += [f"tape[{k} * W + i]" for k in range(len(body.inputs) - len(read))]
    return [(source, name.text) for source, name in zip(read, body.inputs, strict=True)]

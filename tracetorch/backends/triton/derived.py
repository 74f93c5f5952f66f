"""Steps without hand-written stages: captured, printed as one Triton stage, and run in the same loop."""

from __future__ import annotations

import hashlib
import linecache
from dataclasses import replace

from ...fusion.cache import captured
from ...fusion.capture import CapturedStep
from ...fusion.code import Body, Name, Unsupported
from ...pipeline import Step
from .chain import Chain, Link
from .dialect import TRITON

HEADER = """\
import triton
import triton.language as tl

from tracetorch.backends.triton import math as m
"""


def derived(step: Step, dtype, record: tuple[str, ...] = ()) -> Chain:
    """Return the composition with the one stage that `step` was captured into; raises CannotCapture, Unsupported."""
    program = captured(step, dtype, record)
    if program.asks_device:
        raise Unsupported("the step asks a tensor for its device, and was captured on the CPU; zeros_like and "
                          "full_like need no device")
    if "triton" not in program.kernels:
        program.kernels["triton"] = _chain(program)
    return program.kernels["triton"]


def _chain(program: CapturedStep) -> Chain:
    text = source(program)
    functions = load(text)
    stage = Link(functions["step"], functions["step_back"], program.states, program.states, program.params)
    starts = dict(zip(program.states, program.starts, strict=True))
    return Chain(program.name, [stage], starts, draws=bool(program.draws), recordings=len(program.record),
                       text=text)


def source(program: CapturedStep) -> str:
    """Write the Triton text of one captured step: a stage that reads and writes every state."""
    states, params = len(program.states), len(program.params)
    reads = ["wire[0]", *(f"state[{i}]" for i in range(states)), *(f"par[{i}]" for i in range(params))]
    cotangents = ["gwire[0]", *(f"gnew[{i}]" for i in range(states))]
    cotangents += [f"gwire[{1 + i}]" for i in range(len(program.record))]
    forward = _function("step(wire, state, par, rng, conf: tl.constexpr)", program.forward, reads,
                        [(0, *range(1 + states, 1 + states + len(program.record))), range(1, 1 + states)])
    backward = _function("step_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr)",
                         shortened(program.backward), reads + cotangents,
                         [(0,), range(1, 1 + states), range(1 + states, 1 + states + params)])
    return "\n\n".join([HEADER, forward, backward])


JUMPS = (
    "gt", "ge", "lt", "le", "eq", "ne", "floor", "ceil", "round", "trunc", "sign", "fmod", "bool", "isnan", "copysign",
)  # fmt: skip
SHORTENED = {"div": "quotient", "reciprocal": "about_reciprocal"}


def shortened(body: Body) -> Body:
    """Return a gradient's code with short divisions, but for those on which a jump such as a spike depends.

    A short one is right to 2 units in the last place of float32 and takes a fifth of the instructions.
    """
    exact: set[str] = set()
    lines = []
    for line in reversed(body.lines):
        if line.op in JUMPS or line.name.text in exact:
            exact.update(a.text for a in line.args if isinstance(a, Name))
        if line.name.text not in exact:
            line = replace(line, op=SHORTENED.get(line.op, line.op))
        lines.append(line)
    return replace(body, lines=tuple(reversed(lines)))


def _function(signature: str, body: Body, reads: list[str], groups: list) -> str:
    """Write a kernel function that returns its outputs in groups, each of the shape of x."""
    lines, outputs = TRITON.write(body)
    used = body.reads() | {body.inputs[0].text}
    loads = [f"{name.text} = {read}" for name, read in zip(body.inputs, reads, strict=True) if name.text in used]
    values = [f"tl.broadcast_to({text}, x.shape)" for text in outputs]
    wires = ["(" + "".join(f"{values[i]}, " for i in group) + ")" for group in groups]
    inside = [*loads, *lines, f"return {', '.join(wires)}"]
    return "\n".join(["@triton.jit", f"def {signature}:", *(f"    {line}" for line in inside)]) + "\n"


def load(text: str) -> dict:
    """Run `text` as a module; Triton reads the source of kernel functions back, which linecache keeps for it."""
    name = f"<tracetorch.triton.{hashlib.sha256(text.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    module = {"__name__": name}
    exec(compile(text, name, "exec"), module)
    return module

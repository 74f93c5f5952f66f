"""The tape: results of a recomputed step that backward loads, because they cost more to compute again."""

from __future__ import annotations

from dataclasses import replace

from ...fusion.code import Body, Name

_COSTLY = """exp exp2 expm1 log log2 log10 log1p sigmoid sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh
    erf erfc fmod pow atan2 hypot draw"""
COSTLY = frozenset(_COSTLY.split())


def tape(forward: Body, backward: Body) -> tuple[list[Name], Body]:
    """Return the costly values of `forward` that `backward` computes again, and a backward that takes them instead.

    Its new inputs come last, in the same order.
    """
    numbers: dict[tuple, int] = {}
    known = {number: name for name, number in _expressions(forward, numbers).items()}
    again = _expressions(backward, numbers)
    shared = {line.name.text for line in backward.lines if line.op in COSTLY and again[line.name.text] in known}
    rest = replace(backward, lines=tuple(line for line in backward.lines if line.name.text not in shared))
    rest = rest.keep(range(len(rest.outputs)))
    names = [line.name for line in backward.lines if line.name.text in shared & rest.reads()]
    return [Name(known[again[n.text]]) for n in names], replace(rest, inputs=(*rest.inputs, *names))


def _expressions(body: Body, numbers: dict[tuple, int]) -> dict[str, int]:
    """Number every expression over the inputs, the same in all bodies that share `numbers`."""
    found: dict[str, int] = {}
    for name in body.inputs:
        found[name.text] = numbers.setdefault((name.text,), len(numbers))
    for line in body.lines:
        args = (found[a.text] if isinstance(a, Name) else (type(a), repr(a)) for a in line.args)
        found[line.name.text] = numbers.setdefault((line.op, *args), len(numbers))
    return found

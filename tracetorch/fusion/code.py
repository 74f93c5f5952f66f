"""Straight-line elementwise code: what a step becomes before a language spells it.

A `Body` is a list of lines, each giving a new name to one operator of a small vocabulary applied to earlier
names and constants. `capture` writes one down as a step runs; a `dialect` spells it as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

FLOAT, BOOL = "float", "bool"


class Unsupported(Exception):
    """Something that no dialect, or not this one, can spell."""


@dataclass(frozen=True)
class Name:
    """A value with a name; `kind` is FLOAT or BOOL."""

    text: str
    kind: str = FLOAT


Value = Name | float | bool


@dataclass(frozen=True)
class Line:
    """`name = op(*args)`; an argument is a Name or a constant; that of `draw` is its number, an int."""

    name: Name
    op: str
    args: tuple


@dataclass(frozen=True)
class Body:
    """Straight-line code: `inputs` are the placeholders, `outputs` are all FLOAT."""

    inputs: tuple[Name, ...]
    lines: tuple[Line, ...]
    outputs: tuple[Value, ...]

    def keep(self, wanted: Iterable[int]) -> Body:
        """Return the body that computes only the outputs numbered in `wanted`, in that order."""
        return self.returning(self.outputs[i] for i in wanted)

    def returning(self, outputs: Iterable[Value]) -> Body:
        """Return the body that computes these of its values, without the lines they do not need."""
        outputs = tuple(outputs)
        needed = {v.text for v in outputs if isinstance(v, Name)}
        lines = []
        for line in reversed(self.lines):
            if line.name.text in needed:
                needed.update(a.text for a in line.args if isinstance(a, Name))
                lines.append(line)
        return Body(self.inputs, tuple(reversed(lines)), outputs)

    def reads(self) -> frozenset[str]:
        """Return the texts of every name some line or output uses."""
        used = [a for line in self.lines for a in line.args] + list(self.outputs)
        return frozenset(a.text for a in used if isinstance(a, Name))


_UNARY = """neg abs exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal sigmoid sin cos tan asin acos
    atan sinh cosh tanh asinh acosh atanh erf erfc floor ceil round trunc sign"""
_BINARY = "add sub mul div minimum maximum fmin fmax fmod pow atan2 copysign hypot"

# operator -> kinds of its arguments > kind of its result: f float, b bool, n a literal integer
VOCABULARY: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(_BINARY.split(), "ff>f")
    | dict.fromkeys(_UNARY.split(), "f>f")
    | dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne"), "ff>b")
    | dict.fromkeys(("and", "or", "xor"), "bb>b")
    | {"not": "b>b", "where": "bff>f", "float": "b>f", "bool": "f>b", "isnan": "f>b", "draw": "n>f"}
)

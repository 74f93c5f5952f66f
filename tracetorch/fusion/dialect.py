"""How a language spells straight-line code: a table, and the one function that fills it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .code import VOCABULARY, Body, Name, Unsupported, Value


def called(function: str, op: str) -> str:
    """Return the spelling of an operator as a call: `function({0}, {1})`."""
    count = len(VOCABULARY[op].partition(">")[0])
    return f"{function}({', '.join(f'{{{i}}}' for i in range(count))})"


@dataclass(frozen=True)
class Dialect:
    """How one language spells the vocabulary.

    spellings: operator -> format string over {0}, {1}, {2}; an operator left out cannot be fused there.
    declare: kind -> format string over {name} and {value}, one line of code.
    literal: a float or a bool -> text.
    """

    language: str
    spellings: Mapping[str, str]
    declare: Mapping[str, str]
    literal: Callable[[float | bool], str]

    def spell(self, value: Value | int) -> str:
        if isinstance(value, Name):
            return value.text
        if isinstance(value, (bool, float)):
            return self.literal(value)
        return str(value)

    def write(self, body: Body) -> tuple[list[str], list[str]]:
        """Return the lines of code, and one expression per output; raise Unsupported."""
        lines = []
        for line in body.lines:
            if line.op not in self.spellings:
                raise Unsupported(f"{line.op} has no spelling in {self.language}")
            value = self.spellings[line.op].format(*map(self.spell, line.args))
            lines.append(self.declare[line.name.kind].format(name=line.name.text, value=value))
        return lines, [self.spell(v) for v in body.outputs]

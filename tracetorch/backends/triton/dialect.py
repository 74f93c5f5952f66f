"""The vocabulary of `fusion.code` spelled in Triton, in terms of `m`, this package's math.py."""

from __future__ import annotations

from ...fusion.code import BOOL, FLOAT
from ...fusion.dialect import Dialect, called

_OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
    "and": "&", "or": "|", "xor": "^",
}  # fmt: skip
_TRITON = "abs exp2 log log2 sin cos erf floor ceil"
_OWN = """exp expm1 log10 log1p sqrt sigmoid tan asin acos atan sinh cosh tanh asinh acosh atanh erfc trunc sign
    minimum maximum fmin fmax fmod pow atan2 copysign hypot"""


def _literal(value: float | bool) -> str:
    """Write a constant of the kernel's own type: a bare 0.1 may be rounded to float32 on its way."""
    if isinstance(value, bool):
        return f"tl.full((), {int(value)}, tl.int1)"
    spelt = repr(value) if abs(value) < float("inf") else f'float("{value}")'
    return f"tl.full((), {spelt}, x.dtype)"


TRITON = Dialect(
    language="Triton",
    spellings={op: f"{{0}} {sign} {{1}}" for op, sign in _OPERATORS.items()}
    | {op: called(f"tl.{op}", op) for op in _TRITON.split()}
    | {op: called(f"m.{op}", op) for op in _OWN.split()}
    | {
        "div": "m.divide({0}, {1})",
        "quotient": "{0} / {1}",
        "about_reciprocal": "1.0 / {0}",
        "neg": "-{0}",
        "reciprocal": "m.divide(tl.full((), 1.0, x.dtype), {0})",
        "rsqrt": "m.divide(tl.full((), 1.0, x.dtype), m.sqrt({0}))",
        "round": "m.round_even({0})",
        "not": "{0} == 0",
        "where": "tl.where({0}, {1}, {2})",
        "float": "tl.where({0}, 1.0, 0.0).to(x.dtype)",
        "bool": "{0} != 0",
        "isnan": "{0} != {0}",
        "draw": "m.uniform(rng, {0}, x)",
    },
    declare={FLOAT: "{name} = {value}", BOOL: "{name} = {value}"},
    literal=_literal,
)

"""The vocabulary of `fusion.code` spelled in C++, in terms of `T` and of math.h."""

from __future__ import annotations

import math

from ...fusion.code import BOOL, FLOAT
from ...fusion.dialect import Dialect, called

_OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==",
    "ne": "!=", "and": "&", "or": "|", "xor": "!=",
}  # fmt: skip
_VECTORISED = ("exp", "expm1", "log", "log1p", "sigmoid", "tanh", "atan", "erf", "erfc")
_OF_THE_LIBRARY = """exp2 log2 log10 sqrt sin cos tan asin acos sinh cosh asinh acosh atanh floor ceil trunc fmin
    fmax fmod pow atan2 copysign hypot"""


def _literal(value: float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if math.isnan(value):
        return "T(NAN)"
    if math.isinf(value):
        return "T(INFINITY)" if value > 0 else "T(-INFINITY)"
    return f"T({value!r})"


CPP = Dialect(
    language="C++",
    spellings={op: f"{{0}} {sign} {{1}}" for op, sign in _OPERATORS.items()}
    | {op: called(f"tt::{op}", op) for op in _VECTORISED}
    | {op: called(f"std::{op}", op) for op in _OF_THE_LIBRARY.split()}
    | {
        "neg": "-{0}",
        "abs": "std::fabs({0})",
        "rsqrt": "T(1) / std::sqrt({0})",
        "reciprocal": "T(1) / {0}",
        "round": "std::nearbyint({0})",
        "sign": "tt::sign({0})",
        "minimum": "tt::minimum<T>({0}, {1})",
        "maximum": "tt::maximum<T>({0}, {1})",
        "not": "!{0}",
        "where": "{0} ? {1} : {2}",
        "float": "{0} ? T(1) : T(0)",
        "bool": "{0} != T(0)",
        "isnan": "{0} != {0}",
        "draw": "tt::uniform<T>(draw, first + (uint64_t)i, {0}u)",
    },
    declare={FLOAT: "const T {name} = {value};", BOOL: "const bool {name} = {value};"},
    literal=_literal,
)

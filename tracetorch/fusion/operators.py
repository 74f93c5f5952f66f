"""ATen operators, rewritten one call at a time into straight-line code of the small vocabulary in `fusion.code`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from .code import BOOL, FLOAT, VOCABULARY, Body, Line, Name, Unsupported, Value

_ALIASES = frozenset(
    ("detach", "alias", "view", "view_as", "reshape", "_unsafe_view", "expand", "expand_as", "contiguous")
)
_COPIES = frozenset(("clone", "lift_fresh_copy", "lift_fresh", "copy"))
_SAME_NAME = frozenset(op for op, kinds in VOCABULARY.items() if kinds in ("f>f", "ff>f", "ff>b", "f>b"))
_SPELT_ALIKE = {op: op for op in _SAME_NAME} | {
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne",
    "bitwise_and": "and", "logical_and": "and", "bitwise_or": "or", "logical_or": "or",
    "bitwise_xor": "xor", "logical_xor": "xor", "bitwise_not": "not", "logical_not": "not",
    "sgn": "sign", "special_erfc": "erfc",
}
_RANDOM = frozenset(
    ("rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "bernoulli", "uniform", "normal",
     "exponential", "multinomial", "dropout", "native_dropout")
)
_FULL = dict.fromkeys(("zeros", "zeros_like", "new_zeros", "zero", "empty", "empty_like", "new_empty"), 0)
_FULL |= dict.fromkeys(("ones", "ones_like", "new_ones"), 1)
_FILLED = {"scalar_tensor": 0, "full": 1, "full_like": 1, "new_full": 2, "fill": 1}  # position of the value
_FRESH = frozenset(("lift_fresh", "lift_fresh_copy", "lift"))


class Recorder:
    """Writes a line for every operator called on the tensors it knows.

    A value belongs to the memory it lies in, so aliases share it and an in-place operator changes it for all of
    them. Every tensor seen is kept alive, so that no memory is used twice.
    """

    def __init__(self, inputs: Sequence[Tensor], names: Sequence[str], prefix: str = "v"):
        self.dtype, self.size, self.prefix = inputs[0].dtype, inputs[0].numel(), prefix
        self.inputs = tuple(Name(text) for text in names)
        self.lines: list[Line] = []
        self.known: dict[tuple, Name] = {}
        self.values: dict[int, Value] = {}
        self.alive: list[Tensor] = []
        for tensor, name in zip(inputs, self.inputs, strict=True):
            self.hold(tensor, name)
        self.owned = frozenset(self.values)

    def body(self, outputs: Sequence[Tensor]) -> Body:
        """Return the code that computes `outputs`, without the lines they do not need."""
        values = tuple(self.to(FLOAT, self.value(t)) for t in outputs)
        return Body(self.inputs, tuple(self.lines), values).keep(range(len(values)))

    def hold(self, tensor: Tensor, value: Value) -> None:
        self.alive.append(tensor)
        self.values[_memory(tensor)] = value

    def value(self, arg: Any) -> Value:
        """Return what an argument of an operator stands for."""
        if isinstance(arg, Tensor):
            if _memory(arg) not in self.values:
                raise Unsupported(
                    f"captures a tensor of shape {list(arg.shape)}, and a kernel would not see it change; hold "
                    "it in an nn.Module used as the callable, or declare it as a parameter of a stage"
                )
            return self.values[_memory(arg)]
        if isinstance(arg, bool):
            return arg
        if isinstance(arg, (int, float)):
            return math.nan if arg != arg else float(arg)      # one NaN, so that bodies can be compared
        raise Unsupported(f"passes {arg!r} where a number or a tensor is needed")

    def call(self, func: OpOverload, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
        """Record `out = func(*args, **kwargs)`; raises Unsupported."""
        name, in_place = _operator(func)
        if not isinstance(out, Tensor) or tuple(out.shape) not in ((), (1,), (self.size,)):
            raise Unsupported("is not elementwise: it changes the shape")
        exact = name == "_to_copy" and not args[0].is_floating_point()
        if _is_integral(out):
            self.hold(out, self.integer(name, args, kwargs, out))
            return
        if out.is_complex() or (out.is_floating_point() and out.dtype != self.dtype and out.ndim and not exact):
            raise Unsupported(f"computes in {out.dtype} inside a step of {self.dtype}")
        if name in _ALIASES and not in_place:
            self.value(args[0])
        elif in_place:
            if _memory(args[0]) in self.owned:
                raise Unsupported("writes into an input of the step; compute a new tensor instead")
            self.hold(out, self.to(_kind(out), self.result(name, args, kwargs, out)))
        else:
            self.hold(out, self.result(name, args, kwargs, out))

    def integer(self, name: str, args: tuple, kwargs: dict[str, Any], out: Tensor) -> Value:
        """Return the value of an integer tensor: a literal, a mask as 0 and 1, or a choice among those.

        Arithmetic on integers wraps and divides as no float does, so there is none.
        """
        source = args[0] if args and isinstance(args[0], Tensor) else None
        chosen = name in ("where", "masked_fill")
        copied = name in (_ALIASES | _COPIES | {"_to_copy"}) - _FRESH and source is not None and (
            source.dtype == torch.bool or (_is_integral(source) and source.dtype.itemsize <= out.dtype.itemsize))
        if not (chosen or copied or name in _FULL or name in _FILLED or name in _FRESH):
            raise Unsupported(f"computes in {out.dtype}; write masks as {str(self.dtype).removeprefix('torch.')} "
                              "(`.to(v.dtype)`), or compare and use torch.where")
        value = self.to(FLOAT, self.value(source) if copied else self.result(name, args, kwargs, out))
        if not isinstance(value, Name):
            value = float(out.flatten()[0])     # as it has wrapped
            if abs(value) > EXACT:
                raise Unsupported(f"holds {value:.0f}, an integer that no float has")
        elif name in _FILLED:
            raise Unsupported(f"computes in {out.dtype}; keep it in {self.dtype}")
        return value

    def op(self, op: str, *args: Value | int) -> Value:
        """Return the name of `op(*args)`, written as a new line unless it is known."""
        kinds, result = VOCABULARY[op].split(">")
        spelt = {"f": FLOAT, "b": BOOL}
        args = tuple(a if k == "n" else self.to(spelt[k], a) for k, a in zip(kinds, args, strict=True))
        key = (op, *((type(a), repr(a)) for a in args))
        if key not in self.known:
            self.known[key] = Name(f"{self.prefix}{len(self.lines)}", spelt[result])
            self.lines.append(Line(self.known[key], op, args))
        return self.known[key]

    def to(self, kind: str, value: Value) -> Value:
        if isinstance(value, Name):
            return value if value.kind == kind else self.op(kind, value)
        return float(value) if kind == FLOAT else bool(value)

    def result(self, name: str, args: tuple, kwargs: dict[str, Any], out: Tensor) -> Value:
        rule = getattr(self, "lower_" + name, None)
        if rule is not None:
            return rule(*args, out=out, **kwargs)
        if name in _FRESH:
            return self.constant(args[0])
        if name in _COPIES:
            return self.value(args[1] if name == "copy" else args[0])
        if name in _SPELT_ALIKE:
            return self.op(_SPELT_ALIKE[name], *map(self.value, args))
        if name in _FULL:
            return self.to(_kind(out), float(_FULL[name]))
        if name in _FILLED:
            return self.to(_kind(out), self.value(args[_FILLED[name]]))
        if name in _RANDOM:
            raise Unsupported("draws what no kernel can repeat; draw by tracetorch.functional.uniform(like)")
        raise Unsupported("has no elementwise spelling")

    def constant(self, tensor: Tensor) -> Value:
        """Return the value of a tensor made inside the step from a Python number."""
        if _memory(tensor) in self.values:
            return self.value(tensor)
        if tensor.numel() != 1:
            raise Unsupported(f"makes a tensor of shape {list(tensor.shape)}; a fused step knows numbers only")
        return bool(tensor) if tensor.dtype == torch.bool else float(tensor)

    # One method per ATen operator that is more than a spelling, called with the operator's own arguments.

    def lower_draw(self, like, number, *, out):
        return self.op("draw", int(number))

    def lower_add(self, a, b, *, alpha=1, out):
        return self.op("or" if _kind(out) == BOOL else "add", self.value(a), self.times(alpha, b))

    def lower_sub(self, a, b, *, alpha=1, out):
        return self.op("sub", self.value(a), self.times(alpha, b))

    def lower_rsub(self, a, b, alpha=1, *, out):
        return self.op("sub", self.value(b), self.times(alpha, a))

    def times(self, alpha, operand) -> Value:
        value = self.value(operand)
        return value if alpha == 1 else self.op("mul", value, float(alpha))

    def lower_mul(self, a, b, *, out):
        return self.op("and" if _kind(out) == BOOL else "mul", self.value(a), self.value(b))

    def lower_div(self, a, b, *, rounding_mode=None, out):
        a, b = self.value(a), self.value(b)
        if rounding_mode == "floor":
            return self.floor_divide(a, b)
        quotient = self.op("div", a, b)
        return self.op("trunc", quotient) if rounding_mode == "trunc" else quotient

    def lower_floor_divide(self, a, b, *, out):
        return self.floor_divide(self.value(a), self.value(b))

    def floor_divide(self, a: Value, b: Value) -> Value:
        """Divide as torch does: from the exact remainder, so that 1 // 0.1 is 9."""
        quotient = self.op("div", self.op("sub", a, self.remainder(a, b)), b)
        return self.op("where", self.op("eq", b, 0.0), self.op("div", a, b), self.op("round", quotient))

    def lower_remainder(self, a, b, *, out):
        return self.remainder(self.value(a), self.value(b))

    def remainder(self, a: Value, b: Value) -> Value:
        rest = self.op("fmod", a, b)
        signs_differ = self.op("xor", self.op("lt", b, 0.0), self.op("lt", rest, 0.0))
        crosses = self.op("and", self.op("ne", rest, 0.0), signs_differ)
        return self.op("where", crosses, self.op("add", rest, b), rest)

    def lower_pow(self, base, exponent, *, out):
        base, exponent = self.value(base), self.value(exponent)
        if isinstance(exponent, (Name, bool)):
            return self.op("pow", base, exponent)
        if exponent == 0:
            return 1.0
        if exponent in (1.0, 2.0, 3.0):
            power = base
            for _ in range(int(exponent) - 1):
                power = self.op("mul", power, base)
            return power
        if exponent == -2.0:
            return self.op("reciprocal", self.op("mul", base, base))
        known = {0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}
        return self.op(known[exponent], base) if exponent in known else self.op("pow", base, exponent)

    def lower_round(self, a, *, decimals=0, out):
        if decimals == 0:
            return self.op("round", self.value(a))
        scale = float(10 ** abs(decimals))
        there, back = ("mul", "div") if decimals > 0 else ("div", "mul")
        return self.op(back, self.op("round", self.op(there, self.value(a), scale)), scale)

    def lower_where(self, mask, yes, no, *, out):
        mask, yes, no = self.value(mask), self.value(yes), self.value(no)
        if _kind(out) == FLOAT:
            return self.op("where", mask, yes, no)
        return self.op("or", self.op("and", mask, yes), self.op("and", self.op("not", mask), no))

    def lower_masked_fill(self, base, mask, fill, *, out):
        return self.lower_where(mask, fill, base, out=out)

    def lower_index_put(self, base, indices, fill, accumulate=False, *, out):
        if len(indices) != 1 or _kind(indices[0]) != BOOL or accumulate or fill.numel() != 1:
            raise Unsupported("is not elementwise: it indexes by position")
        return self.lower_where(indices[0], fill, base, out=out)

    def lower_relu(self, a, *, out):
        value = self.value(a)
        return self.op("where", self.op("lt", value, 0.0), 0.0, value)

    def lower_softplus(self, a, beta=1, threshold=20, *, out):
        scaled = self.times(beta, a)
        smooth = self.op("div", self.op("log1p", self.op("exp", scaled)), float(beta))
        return self.op("where", self.op("gt", scaled, float(threshold)), self.value(a), smooth)

    def lower_softplus_backward(self, grad, a, beta, threshold, *, out):
        grad, scaled = self.value(grad), self.times(beta, a)
        growth = self.op("exp", scaled)
        slope = self.op("div", self.op("mul", grad, growth), self.op("add", growth, 1.0))
        return self.op("where", self.op("gt", scaled, float(threshold)), grad, slope)

    def lower_sigmoid_backward(self, grad, s, *, out):
        s = self.value(s)
        return self.op("mul", self.op("mul", self.value(grad), self.op("sub", 1.0, s)), s)

    def lower_tanh_backward(self, grad, y, *, out):
        y = self.value(y)
        return self.op("mul", self.value(grad), self.op("sub", 1.0, self.op("mul", y, y)))

    def lower_hardshrink_backward(self, grad, a, lambd, *, out):
        value = self.value(a)
        inside = self.op("and", self.op("ge", value, -float(lambd)), self.op("le", value, float(lambd)))
        return self.op("where", inside, 0.0, self.value(grad))

    lower_softshrink_backward = lower_hardshrink_backward

    def lower_clamp(self, a, min=None, max=None, *, out):
        value = self.value(a)
        if min is not None:
            value = self.op("maximum", value, self.value(min))
        return value if max is None else self.op("minimum", value, self.value(max))

    def lower_clamp_min(self, a, min, *, out):
        return self.lower_clamp(a, min, out=out)

    def lower_clamp_max(self, a, max, *, out):
        return self.lower_clamp(a, None, max, out=out)

    def lower__to_copy(self, a, *, out, **_):
        return self.to(_kind(out), self.value(a))

    def lower_signbit(self, a, *, out):
        return self.op("lt", self.op("copysign", 1.0, self.value(a)), 0.0)

    def lower_logit(self, a, eps=None, *, out):
        if eps is not None:
            raise Unsupported("with eps gives gradients at NaN that depend on how many elements torch takes at a time; "
                              "write torch.logit(v.clamp(eps, 1 - eps))")
        value = self.value(a)
        return self.op("log", self.op("div", value, self.op("sub", 1.0, value)))

    def lower_logit_backward(self, grad, a, eps=None, *, out):
        value = self.value(a)
        inside = self.op("and", self.op("ge", value, 0.0), self.op("le", value, 1.0))
        slope = self.op("div", self.value(grad), self.op("mul", value, self.op("sub", 1.0, value)))
        return self.op("where", inside, slope, math.nan)


EXACT = 2**24       # up to here a float32 has every integer


def _is_integral(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _kind(tensor: Tensor) -> str:
    return BOOL if tensor.dtype == torch.bool else FLOAT


def _operator(func: OpOverload) -> tuple[str, bool]:
    """Return the operator's name without the mark of working in place, and whether it does."""
    if func.namespace == "tracetorch" and func._opname == "draw":
        return "draw", False
    if func.namespace != "aten":
        raise Unsupported("is an operator without an elementwise spelling")
    if any(arg.is_out for arg in func._schema.arguments):
        raise Unsupported("writes into a tensor by out=; compute a new tensor instead")
    name = func._opname
    if name.startswith("__"):       # __and__, __or__, __xor__
        return "logical" + name[1:-2], False
    return name.removesuffix("_"), name.endswith("_")

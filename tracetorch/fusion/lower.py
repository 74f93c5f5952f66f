"""A traced graph of ATen operators, read into straight-line code of the small vocabulary in `fusion.emit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import fx

from .emit import BOOL, FLOAT, VOCABULARY, Body, Line, Name, Unsupported, Value


def lower(graph: fx.GraphModule, names: Sequence[str], prefix: str = "v") -> Body:
    """Read `graph`, whose placeholders are called `names`, into a Body; raises Unsupported.

    Equal lines are written once and unused ones dropped. New names are `prefix` and a number.
    """
    return _Lowering(graph, names, prefix).run()


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
_FULL = {"zeros": 0, "zeros_like": 0, "new_zeros": 0, "zero": 0, "ones": 1, "ones_like": 1, "new_ones": 1}
_FILLED = {"scalar_tensor": 0, "full": 1, "full_like": 1, "new_full": 2, "fill": 1}  # position of the value
_FRESH = (torch.ops.aten.lift_fresh_copy.default, torch.ops.aten.lift_fresh.default)


@dataclass
class _Lowering:
    graph: fx.GraphModule
    names: Sequence[str]
    prefix: str
    lines: list[Line] = field(default_factory=list)
    known: dict[tuple, Name] = field(default_factory=dict)
    values: dict[fx.Node, Value] = field(default_factory=dict)
    root: dict[fx.Node, fx.Node] = field(default_factory=dict)  # a node -> the node whose memory it shares

    def run(self) -> Body:
        placeholders = [n for n in self.graph.graph.nodes if n.op == "placeholder"]
        inputs = tuple(Name(text) for text in self.names)
        self.values.update(zip(placeholders, inputs, strict=True))
        self.dtype, self.shape = placeholders[0].meta["val"].dtype, tuple(placeholders[0].meta["val"].shape)
        for node in self.graph.graph.nodes:
            if node.op == "get_attr":
                self.values[node] = self.captured(node)
            elif node.op == "call_function":
                self.call(node)
            elif node.op == "output":
                leaves = torch.utils._pytree.tree_leaves(node.args[0])
                outputs = tuple(self.to(FLOAT, self.value(leaf)) for leaf in leaves)
        return Body(inputs, tuple(self.lines), outputs).keep(range(len(outputs)))

    def captured(self, node: fx.Node) -> Value:
        tensor = getattr(self.graph, node.target)
        if tensor.numel() != 1 or any(user.target not in _FRESH for user in node.users):
            raise Unsupported(
                f"captures a tensor of shape {list(tensor.shape)}, and a kernel would not see it change; "
                "hold it in an nn.Module used as the callable, or declare it as a parameter of a stage"
            )
        return bool(tensor) if tensor.dtype == torch.bool else float(tensor)

    def value(self, arg: object) -> Value:
        if isinstance(arg, fx.Node):
            return self.values[self.owner(arg)]
        if isinstance(arg, bool):
            return arg
        if isinstance(arg, (int, float)):
            return float(arg)
        raise Unsupported(f"passes {arg!r} where a number or a tensor is needed")

    def owner(self, node: fx.Node) -> fx.Node:
        while node in self.root:
            node = self.root[node]
        return node

    def op(self, op: str, *args: Value | int) -> Value:
        """The name of `op(*args)`, written as a new line unless it is known."""
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

    def call(self, node: fx.Node) -> None:
        name, in_place = self.operator(node)
        meta = node.meta["val"]
        if not isinstance(meta, torch.Tensor) or tuple(meta.shape) not in ((), (1,), self.shape):
            raise Unsupported("is not elementwise: it changes the shape", node.target)
        other = meta.dtype.is_floating_point and meta.dtype != self.dtype
        if (other and meta.ndim) or meta.dtype.is_complex:
            raise Unsupported(f"computes in {meta.dtype} inside a step of {self.dtype}", node.target)
        if name in _ALIASES and not in_place:
            self.root[node] = self.owner(node.args[0])
            return
        result = self.result(name, node, _kind(node))
        if in_place:
            owner = self.owner(node.args[0])
            if owner.op == "placeholder":
                raise Unsupported("writes into its input; compute a new tensor instead", node.target)
            self.values[owner] = self.to(_kind(owner), result)
            self.root[node] = owner
        else:
            self.values[node] = result

    def operator(self, node: fx.Node) -> tuple[str, bool]:
        target = node.target
        if not isinstance(target, torch._ops.OpOverload):
            raise Unsupported(f"calls {target}, which is not a torch operator", target)
        if target.namespace == "tracetorch" and target._opname == "draw":
            return "draw", False
        if target.namespace != "aten":
            raise Unsupported(f"calls the operator {target}, which has no elementwise spelling", target)
        name = target._opname
        if any(arg.kwarg_only and arg.is_out for arg in target._schema.arguments):
            raise Unsupported("writes into a tensor by out=; compute a new tensor instead", target)
        if name.startswith("__"):       # __and__, __or__, __xor__
            return "logical" + name[1:-2], False
        return name.removesuffix("_"), name.endswith("_")

    def result(self, name: str, node: fx.Node, kind: str) -> Value:
        args = node.args
        rule = getattr(self, "lower_" + name, None)
        if rule is not None:
            return rule(node, kind)
        if name in _COPIES:
            return self.value(args[1] if name == "copy" else args[0])
        if name in _SPELT_ALIKE:
            return self.op(_SPELT_ALIKE[name], *map(self.value, args))
        if name in _FULL:
            return self.to(kind, float(_FULL[name]))
        if name in _FILLED:
            return self.to(kind, self.value(args[_FILLED[name]]))
        if name in _RANDOM:
            raise Unsupported(
                f"draws by torch's {name}; draw by tracetorch.functional.uniform(like) instead", node.target
            )
        raise Unsupported("has no elementwise spelling", node.target)

    # One method per ATen operator that is more than a spelling.

    def lower_draw(self, node: fx.Node, kind: str) -> Value:
        return self.op("draw", int(node.args[1]))

    def lower_add(self, node: fx.Node, kind: str) -> Value:
        a, b = self.scaled(node)
        return self.op("or" if kind == BOOL else "add", a, b)

    def lower_sub(self, node: fx.Node, kind: str) -> Value:
        return self.op("sub", *self.scaled(node))

    def scaled(self, node: fx.Node) -> tuple[Value, Value]:
        """Both operands, the second times alpha."""
        a, b = map(self.value, node.args[:2])
        alpha = node.kwargs.get("alpha", node.args[2] if len(node.args) > 2 else 1)
        return a, b if alpha == 1 else self.op("mul", b, float(alpha))

    def lower_mul(self, node: fx.Node, kind: str) -> Value:
        return self.op("and" if kind == BOOL else "mul", *map(self.value, node.args))

    def lower_div(self, node: fx.Node, kind: str) -> Value:
        a, b = map(self.value, node.args[:2])
        mode = node.kwargs.get("rounding_mode")
        if mode == "floor":
            return self.floor_divide(a, b)
        quotient = self.op("div", a, b)
        return self.op("trunc", quotient) if mode == "trunc" else quotient

    def lower_floor_divide(self, node: fx.Node, kind: str) -> Value:
        return self.floor_divide(*map(self.value, node.args))

    def floor_divide(self, a: Value, b: Value) -> Value:
        """As torch: from the exact remainder, so that 1 // 0.1 is 9."""
        rest = self.remainder(a, b)
        quotient = self.op("div", self.op("sub", a, rest), b)
        return self.op("where", self.op("eq", b, 0.0), self.op("div", a, b), self.op("round", quotient))

    def lower_remainder(self, node: fx.Node, kind: str) -> Value:
        return self.remainder(*map(self.value, node.args))

    def remainder(self, a: Value, b: Value) -> Value:
        rest = self.op("fmod", a, b)
        signs_differ = self.op("xor", self.op("lt", b, 0.0), self.op("lt", rest, 0.0))
        crosses = self.op("and", self.op("ne", rest, 0.0), signs_differ)
        return self.op("where", crosses, self.op("add", rest, b), rest)

    def lower_pow(self, node: fx.Node, kind: str) -> Value:
        base, exponent = map(self.value, node.args)
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

    def lower_round(self, node: fx.Node, kind: str) -> Value:
        decimals = node.kwargs.get("decimals", 0)
        if decimals == 0:
            return self.op("round", self.value(node.args[0]))
        scale = float(10 ** abs(decimals))
        there, back = ("mul", "div") if decimals > 0 else ("div", "mul")
        return self.op(back, self.op("round", self.op(there, self.value(node.args[0]), scale)), scale)

    def lower_where(self, node: fx.Node, kind: str) -> Value:
        return self.select(*map(self.value, node.args), kind)

    def lower_masked_fill(self, node: fx.Node, kind: str) -> Value:
        base, mask, fill = map(self.value, node.args)
        return self.select(mask, fill, base, kind)

    def lower_index_put(self, node: fx.Node, kind: str) -> Value:
        base, indices, fill = node.args[:3]
        accumulate = len(node.args) > 3 and node.args[3]
        if len(indices) != 1 or _kind(indices[0]) != BOOL or accumulate:
            raise Unsupported("is not elementwise: it indexes by position", node.target)
        return self.select(self.value(indices[0]), self.value(fill), self.value(base), kind)

    def select(self, mask: Value, yes: Value, no: Value, kind: str) -> Value:
        if kind == FLOAT:
            return self.op("where", mask, yes, no)
        return self.op("or", self.op("and", mask, yes), self.op("and", self.op("not", mask), no))

    def lower_relu(self, node: fx.Node, kind: str) -> Value:
        value = self.value(node.args[0])
        return self.op("where", self.op("lt", value, 0.0), 0.0, value)

    def lower_clamp(self, node: fx.Node, kind: str) -> Value:
        bounds = dict(zip(("min", "max"), node.args[1:], strict=False)) | dict(node.kwargs)
        value = self.value(node.args[0])
        if bounds.get("min") is not None:
            value = self.op("maximum", value, self.value(bounds["min"]))
        if bounds.get("max") is not None:
            value = self.op("minimum", value, self.value(bounds["max"]))
        return value

    def lower_clamp_min(self, node: fx.Node, kind: str) -> Value:
        return self.op("maximum", *map(self.value, node.args))

    def lower_clamp_max(self, node: fx.Node, kind: str) -> Value:
        return self.op("minimum", *map(self.value, node.args))

    def lower__to_copy(self, node: fx.Node, kind: str) -> Value:
        value, dtype = self.value(node.args[0]), node.meta["val"].dtype
        integral = not dtype.is_floating_point and dtype != torch.bool
        if integral and isinstance(value, Name) and value.kind == FLOAT:
            return self.op("trunc", value)
        return self.to(kind, value)


def _kind(node: fx.Node) -> str:
    return BOOL if node.meta["val"].dtype == torch.bool else FLOAT

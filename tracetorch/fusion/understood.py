"""What a captured step was made from: everything reachable from its callables and stages, known by value or by code.

    found = understand(step)        found.token     equal for as long as capturing the step would give the same code
                                    found.holds()   whether nothing that was read on the way has been replaced

The walk reads code (with the code inside it), defaults, closures, the globals and module attributes that code names,
attributes of functions, instances and classes, and containers. What it does not know how to read is not remembered:
it raises NotUnderstood, and the layer runs in eager. Code of torch and of this package is known and not walked.
"""

from __future__ import annotations

import builtins
import collections
import decimal
import dis
import enum
import fractions
import functools
import operator
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from ..pipeline import Step
from ..stages import Stage
from .witness import EMPTY, MISSING, Witness, content_of

PACKAGES = frozenset((
    "torch", "tracetorch", "math", "cmath", "operator", "numbers", "typing", "typing_extensions", "abc", "collections",
    "dataclasses", "enum", "functools", "itertools", "types", "numpy", "einops",
))
"""Whose code is known: what it computes depends on its arguments, and on attributes of the objects it is given."""
IMPURE = frozenset(("random", "seed", "initial_seed", "manual_seed", "get_rng_state", "get_num_threads",
                    "is_inference_mode_enabled", "is_autocast_enabled", "get_autocast_dtype"))
"""Of these packages: what reads or changes something that no walk sees."""
BUILTINS = frozenset((
    "abs", "all", "any", "bool", "callable", "complex", "dict", "divmod", "enumerate", "filter", "float", "frozenset",
    "int", "isinstance", "issubclass", "iter", "len", "list", "map", "max", "min", "next", "object", "pow",
    "property", "range", "repr", "reversed", "round", "set", "slice", "sorted", "staticmethod", "classmethod", "str",
    "sum", "super", "tuple", "type", "zip", "Exception", "ValueError", "TypeError", "RuntimeError", "AssertionError",
    "NotImplementedError", "KeyError", "IndexError", "AttributeError", "StopIteration", "ArithmeticError",
    "ZeroDivisionError",
))
DYNAMIC = frozenset(("getattr", "hasattr", "setattr"))
PLAIN = frozenset((
    int, float, bool, str, bytes, complex, type(None), type(...), type(NotImplemented), torch.dtype, torch.device,
    torch.layout, torch.memory_format, torch.Size, range, decimal.Decimal, fractions.Fraction,
))
C_CODE = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType,
          types.GetSetDescriptorType, types.MemberDescriptorType, np.ufunc, torch._ops.OpOverload,
          torch._ops.OpOverloadPacket)
REDUCED = (operator.methodcaller, operator.attrgetter, operator.itemgetter)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GLOBAL_HOOKS = tuple(getattr(torch_modules, f"_global{name}") for name in HOOKS)
READERS = frozenset(("forward", "backward", "setup_context", "apply", "step", "after"))
"""What torch and this package call by name."""
MAKERS = frozenset(("__init__", "__new__", "__post_init__", "__init_subclass__", "__class_getitem__"))
"""What runs where a class is called, not where its instances are used."""
OF_EVERY_CLASS = frozenset(("__doc__", "__module__", "__qualname__", "__dict__", "__weakref__", "__annotations__",
                            "__annotate__", "__annotate_func__", "__annotations_cache__", "__firstlineno__",
                            "__static_attributes__", "__abstractmethods__", "_abc_impl", "__orig_bases__",
                            "__parameters__", "__match_args__", "__dataclass_params__", "__dataclass_fields__",
                            "__slots__", "_backward_cls", "__repr__", "__str__"))
INTERNAL = frozenset(vars(nn.Module())) - {"training"}
BARE = frozenset((object, nn.Module, Stage, torch.autograd.Function))
"""Base classes whose own code reads no attribute of an instance but those it is known by."""
HEAP_TYPE = 1 << 9  # of a class: made by a class statement
MOST = 20_000       # objects, before a walk is given up
ARRAY = 64          # elements of an array that is compared at every call


class NotUnderstood(Exception):
    """Something that a step is made from can't be known by value or by code; the text names it and the way to it."""


def understand(step: Step) -> Witness:
    """Walk everything a step is made from; raises NotUnderstood."""
    walk = _Walk()
    parts = [(name, getattr(step, name)) for name in ("spike_fn", "quant_fn") if getattr(step, name) is not None]
    parts += [(f"stage {type(stage).__name__}", stage) for stage in step.pipeline.stages]
    tokens = [walk.visit(value, name) for name, value in parts]
    walk.found.token = (*tokens, *walk.named_attributes())
    return walk.found


def trusted(module: str | None) -> bool:
    """Say whether the code of a module is known."""
    return (module or "").partition(".")[0] in PACKAGES


@functools.lru_cache(maxsize=4096)
def names_of(code: types.CodeType) -> tuple[frozenset[str], frozenset[str], bool]:
    """Return the globals that code reads, every name and word in it, and whether it imports; inner code included."""
    named, words, imports = set(), set(code.co_names), False
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            named.add(instruction.argval)
        imports |= instruction.opname == "IMPORT_NAME" and not trusted(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, str):
            words.add(constant)
        elif isinstance(constant, types.CodeType):
            inner = names_of(constant)
            named, words, imports = named | inner[0], words | inner[1], imports or inner[2]
    return frozenset(named), frozenset(words), imports


class _Walk:
    """One walk: each object is visited once, on the way on which it is first reached.

    Of modules, classes and instances only the attributes are visited that some code on the walk names.
    """

    def __init__(self) -> None:
        self.found = Witness()
        self.seen: dict[int, int] = {}
        self.alive: list[Any] = []      # what `seen` knows by id
        self.words: set[str] = set(READERS)
        self.places: list[tuple[str, Any, bool, frozenset[str]]] = []   # the way to attributes, where they lie, ...
        self.impure = False
        self.whole = False      # an attribute may be read by a name that is not written anywhere

    def visit(self, value: Any, way: str) -> Any:
        """Return the token of a value; note the places where it may change."""
        cls = type(value)
        if cls in PLAIN:
            return cls, repr(value) if isinstance(value, (float, complex, decimal.Decimal)) else value
        if id(value) in self.seen:
            return "again", self.seen[id(value)]
        self.seen[id(value)] = len(self.seen)
        self.alive.append(value)
        if len(self.alive) > MOST:
            raise NotUnderstood(f"{way}: it reaches more than {MOST} objects")
        if cls in _EXACTLY:
            return _EXACTLY[cls](self, value, way)
        for kind, visit in _KINDS:
            if isinstance(value, kind):
                return visit(self, value, way)
        return self.instance(value, way)

    def named_attributes(self) -> list[Any]:
        """Visit the attributes that any code on the walk names, until nothing new comes of it."""
        tokens: list[Any] = []
        done: set[tuple[int, str]] = set()
        news = True
        while news:
            news = False
            for number, (way, place, every, known) in enumerate(list(self.places)):
                whole = every or self.whole or "__dict__" in self.words
                for name in list(place) if whole else sorted(self.words & place.keys()):
                    if (number, name) not in done and name not in known:
                        done.add((number, name))
                        news = True
                        self.found.entries.append((place, name, place[name]))
                        tokens.append((number, name, self.visit(place[name], f"{way}.{name}")))
        bad = sorted(self.words & IMPURE) if self.impure else ()
        if bad:
            raise NotUnderstood(f"what it reads by the name {bad[0]!r} changes without being seen")
        return tokens

    def attributes(self, way: str, place: Any, every: bool = False, known: frozenset[str] = frozenset()) -> None:
        """Note where attributes lie, to be visited when all names are read: `every` one, or those that are named.

        `known` are names that need no visit.
        """
        self.found.sizes.append((place, len(place)))
        self.places.append((way, place, every, known))

    # What follows returns the token of one kind of value.

    def constant(self, value: Any, way: str) -> Any:
        return value

    def tensor(self, value: Tensor, way: str) -> Any:
        def kind() -> tuple:
            return value.dtype, value.shape, value.device, value.requires_grad
        self.found.values.append((kind, kind()))
        return "tensor", type(value), *kind()

    def array(self, value: np.ndarray, way: str) -> Any:
        if value.size > ARRAY or value.dtype.hasobject:
            raise NotUnderstood(f"{way}: an array of {value.size} elements may change in place")

        def content() -> tuple:
            return value.dtype, value.shape, value.tobytes()
        self.found.values.append((content, content()))
        return "array", *content()

    def scalar(self, value: np.generic, way: str) -> Any:
        return type(value), value.tobytes()

    def member(self, value: enum.Enum, way: str) -> Any:
        return "member", type(value).__qualname__, value.name, self.visit(value.value, f"{way}.value")

    def builtin(self, value: Any, way: str) -> Any:
        owner, name = getattr(value, "__self__", None), value.__name__
        if isinstance(owner, types.ModuleType):
            space = owner.__name__
            known = name in BUILTINS | DYNAMIC if space == "builtins" else trusted(space) and name not in IMPURE
        elif isinstance(owner, type):
            known = trusted(owner.__module__) or owner.__module__ == "builtins"
        elif owner is None:
            known = trusted(value.__module__) and name not in IMPURE
        else:
            return "bound", name, self.visit(owner, f"{way}.__self__")
        if not known:
            raise NotUnderstood(f"{way}: what {name}() gives or does is not known")
        return value

    def method(self, value: types.MethodType, way: str) -> Any:
        return "method", self.visit(value.__func__, way), self.visit(value.__self__, f"{way}.__self__")

    def function(self, value: types.FunctionType, way: str) -> Any:
        known = trusted(value.__module__)
        if known and value.__name__ in IMPURE:
            raise NotUnderstood(f"{way}: what {value.__name__}() gives or does is not known")
        if known and value.__closure__ is None:
            return value
        tokens: list[Any] = [value.__code__]
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            self.found.attributes.append((value, name, getattr(value, name)))
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            content = content_of(cell)
            self.found.cells.append((cell, content))
            if content is not EMPTY:
                tokens.append(self.visit(content, f"{way}: `{name}` of its closure"))
        tokens += [self.visit(part, f"{way}: its defaults") for part in (value.__defaults__, value.__kwdefaults__)]
        return tuple(tokens) if known else (*tokens, self.mapping(value.__dict__, way), *self.globals(value, way))

    def globals(self, value: types.FunctionType, way: str) -> list[Any]:
        named, words, imports = names_of(value.__code__)
        self.words |= words
        if imports:
            raise NotUnderstood(f"{way}: it imports a module when it is called")
        self.whole |= bool(named & DYNAMIC)
        space, tokens = value.__globals__, []
        for name in sorted(named):
            content = space.get(name, MISSING)
            self.found.entries.append((space, name, content))
            if content is not MISSING:
                tokens.append((name, self.visit(content, f"{way}: global `{name}`")))
            elif hasattr(builtins, name) and name not in BUILTINS | DYNAMIC:
                raise NotUnderstood(f"{way}: what {name}() gives or does is not known")
        return tokens

    def module(self, value: types.ModuleType, way: str) -> Any:
        if trusted(value.__name__):
            self.impure = True
            if value.__name__.endswith((".random", ".config")):
                raise NotUnderstood(f"{way}: what {value.__name__} gives is not known")
        else:
            self.attributes(way, vars(value))
        return "module", value.__name__

    def klass(self, value: type, way: str, makers: bool = True) -> Any:
        if value.__module__ == "builtins" and value.__name__ not in BUILTINS:
            raise NotUnderstood(f"{way}: the class {value.__name__} is not known")
        if value.__module__ == "builtins" or trusted(value.__module__):
            return value
        if type(value) is not type and not trusted(type(value).__module__):
            raise NotUnderstood(f"{way}: the class {value.__qualname__} is made by {type(value).__qualname__}")
        self.found.attributes.append((value, "__bases__", value.__bases__))
        bases = [self.visit(base, way) for base in value.__bases__]
        self.words |= {name for name in vars(value) if name.startswith("__") and name.endswith("__")
                       and (makers or name not in MAKERS)}
        self.attributes(f"{way}: class {value.__qualname__}", vars(value), known=OF_EVERY_CLASS)
        return "class", value.__qualname__, *bases

    def descriptor(self, value: Any, way: str) -> Any:
        parts = (value.fget, value.fset, value.fdel) if isinstance(value, property) else (value.__func__,)
        return type(value), *[self.visit(part, way) for part in parts]

    def cached(self, value: functools.cached_property, way: str) -> Any:
        return "cached", self.visit(value.func, way)

    def partial(self, value: functools.partial, way: str) -> Any:
        self.whole |= getattr(value.func, "__name__", "") in DYNAMIC
        for name in ("func", "args", "keywords"):
            self.found.attributes.append((value, name, getattr(value, name)))
        return ("partial", *[self.visit(part, way) for part in (value.func, value.args, value.keywords)],
                self.mapping(value.__dict__, way))

    def reduced(self, value: Any, way: str) -> Any:
        parts = value.__reduce__()[1:]
        self.words |= {word for name in parts[0] if isinstance(name, str) for word in name.split(".")}
        return type(value), *[self.visit(part, way) for part in parts]

    def mapping(self, value: Any, way: str) -> Any:
        self.found.sizes.append((value, len(value)))
        tokens = []
        for key, content in list(value.items()):
            self.found.entries.append((value, key, content))
            tokens.append((self.visit(key, way), self.visit(content, f"{way}: `{key}`")))
        return type(value), *tokens

    def sequence(self, value: Any, way: str) -> Any:
        snapshot = tuple(value)
        if isinstance(value, list):
            self.found.lists.append((value, snapshot))
        own = () if type(value) in (list, tuple) else (self.visit(type(value), way),)
        return (type(value).__name__, *own, *[self.visit(part, f"{way}: element {i}") for i, part in
                                              enumerate(snapshot)])

    def unordered(self, value: Any, way: str) -> Any:
        ids = set(map(id, value))
        self.found.values.append((lambda: set(map(id, value)) == ids, True))
        return type(value), *sorted((self.visit(part, way) for part in value), key=repr)

    def slice(self, value: slice, way: str) -> Any:
        return "slice", *[self.visit(part, way) for part in (value.start, value.stop, value.step)]

    def torch_module(self, value: nn.Module, way: str) -> Any:
        held, cls = vars(value), type(value)
        for hooks in [*[held[name] for name in HOOKS], *GLOBAL_HOOKS]:
            self.found.sizes.append((hooks, 0))
            if hooks:
                raise NotUnderstood(f"{way}: {cls.__name__} has hooks, which run in eager only")
        self.found.attributes.append((value, "__class__", cls))
        tables = []
        for name in ("_parameters", "_buffers", "_modules"):
            tables.append(self.mapping(held[name], f"{way}.{name}"))
        self.attributes(way, held, not _plain_bases(cls), INTERNAL)
        self.words.add("training")
        return "module", self.visit_class_of(cls, way), *tables

    def visit_class_of(self, cls: type, way: str) -> Any:
        """Visit the class of an instance, which is not called."""
        if id(cls) in self.seen:
            return "again", self.seen[id(cls)]
        self.seen[id(cls)] = len(self.seen)
        self.alive.append(cls)
        return self.klass(cls, way, makers=False)

    def instance(self, value: Any, way: str) -> Any:
        cls = type(value)
        made_in_c = [base for base in cls.__mro__ if not base.__flags__ & HEAP_TYPE]
        if made_in_c != [object] and cls is not types.SimpleNamespace:
            shown = repr(value)
            raise NotUnderstood(f"{way}: {shown if len(shown) < 80 else shown[:77] + '...'} is of type "
                                f"{cls.__module__}.{cls.__qualname__}, whose value can't be read")
        self.found.attributes.append((value, "__class__", cls))
        every = not _plain_bases(cls)
        if hasattr(value, "__dict__"):
            self.attributes(way, vars(value), every)
        tokens = []
        for name in [s for base in cls.__mro__ for s in _slots(base)]:
            content = getattr(value, name, MISSING)
            self.found.attributes.append((value, name, content))
            if content is not MISSING:
                tokens.append((name, self.visit(content, f"{way}.{name}")))
        return "instance", self.visit_class_of(cls, way), *tokens


def _plain_bases(cls: type) -> bool:
    """Say whether all code that reads attributes of an instance is on the walk."""
    return all(base in BARE or not trusted(base.__module__) for base in cls.__mro__)


def _slots(cls: type) -> list[str]:
    slots = vars(cls).get("__slots__", ())
    return [s for s in ((slots,) if isinstance(slots, str) else slots) if s not in ("__dict__", "__weakref__")]


_KINDS: tuple[tuple[Any, Callable], ...] = (
    (np.generic, _Walk.scalar),
    (enum.Enum, _Walk.member),
    (Tensor, _Walk.tensor),
    (np.ndarray, _Walk.array),
    (types.FunctionType, _Walk.function),
    (types.MethodType, _Walk.method),
    ((types.BuiltinFunctionType, types.MethodWrapperType), _Walk.builtin),
    (C_CODE, _Walk.constant),
    (types.ModuleType, _Walk.module),
    (nn.Module, _Walk.torch_module),
    (type, _Walk.klass),
    ((staticmethod, classmethod, property), _Walk.descriptor),
    (functools.cached_property, _Walk.cached),
    (functools.partial, _Walk.partial),
    (REDUCED, _Walk.reduced),
    (tuple, _Walk.sequence),
)
_EXACTLY: dict[type, Callable] = {
    list: _Walk.sequence,
    dict: _Walk.mapping,
    collections.OrderedDict: _Walk.mapping,
    types.MappingProxyType: _Walk.mapping,
    set: _Walk.unordered,
    frozenset: _Walk.unordered,
    slice: _Walk.slice,
}

"""What a traced callable would bake into its code: everything but tensors that can change between calls."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = (int, float, bool, str, bytes, complex, type(None), torch.dtype, torch.device)
_OWN = ("torch", "tracetorch")
_MODULE_INTERNALS = frozenset(vars(nn.Module())) - {"training"}
_DEPTH = 8
_fixed: set[types.FunctionType] = set()
"""Functions of torch and of this package that hold nothing: they are their own token."""


def fingerprint(value: Any, depth: int = 0) -> Any:
    """Return a hashable token, equal as long as tracing `value` would give the same code.

    It covers code, defaults, closures, globals that a function names, attributes, and an nn.Module's training
    flag; not tensors, whose values never enter the code, nor what lies more than 8 objects deep.
    """
    if type(value) is nn.Identity:
        return nn.Identity
    if type(value) is types.FunctionType and value in _fixed:
        return value
    if isinstance(value, _PLAIN):
        return type(value), repr(value) if isinstance(value, (float, complex)) else value
    if isinstance(value, Tensor):
        return "tensor", value.dtype, tuple(value.shape)
    if depth > _DEPTH or isinstance(value, (types.BuiltinFunctionType, types.ModuleType)):
        return id(value)
    for kind, describe in _KINDS:
        if isinstance(value, kind):
            return describe(value, depth + 1)
    return type(value), _attributes(value, depth + 1)


def _items(values: Any, depth: int) -> tuple:
    return type(values), tuple(fingerprint(v, depth) for v in values)


def _pairs(values: dict, depth: int) -> tuple:
    return tuple((k if isinstance(k, str) else fingerprint(k, depth), fingerprint(v, depth)) for k, v in values.items())


def _attributes(value: Any, depth: int) -> tuple:
    held = getattr(value, "__dict__", {})
    slots = [s for cls in type(value).__mro__ for s in getattr(cls, "__slots__", ()) if isinstance(s, str)]
    return _pairs({**held, **{s: getattr(value, s) for s in slots if hasattr(value, s)}}, depth)


def _module(value: nn.Module, depth: int) -> tuple:
    plain = {k: v for k, v in value.__dict__.items() if k not in _MODULE_INTERNALS}
    return (
        type(value),
        _pairs(plain, depth),
        _pairs(value._parameters, depth),
        _pairs(value._buffers, depth),
        _pairs(value._modules, depth),
    )


def _function(value: Any, depth: int) -> Any:
    code = value.__code__
    cells = tuple(fingerprint(_content(cell), depth) for cell in value.__closure__ or ())
    token = (code, cells, fingerprint(value.__defaults__, depth), fingerprint(value.__kwdefaults__, depth))
    if (value.__module__ or "").partition(".")[0] in _OWN:
        if value.__closure__ is value.__defaults__ is value.__kwdefaults__ is None:
            _fixed.add(value)
            return value
        return token
    known = value.__globals__
    named = {name: known[name] for name in code.co_names if name in known}
    return *token, _pairs({k: v for k, v in named.items() if not isinstance(v, types.ModuleType)}, depth)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:      # not yet filled
        return None


def _method(value: types.MethodType, depth: int) -> tuple:
    return _function(value.__func__, depth), fingerprint(value.__self__, depth)


def _partial(value: functools.partial, depth: int) -> tuple:
    return fingerprint(value.func, depth), _items(value.args, depth), _pairs(value.keywords, depth)


def _class(value: type, depth: int) -> Any:
    if (value.__module__ or "").partition(".")[0] in (*_OWN, "builtins"):
        return value
    held = {k: v.__func__ if isinstance(v, (staticmethod, classmethod)) else v for k, v in vars(value).items()}
    plain = {k: v for k, v in held.items() if isinstance(v, (*_PLAIN, types.FunctionType)) and k != "__doc__"}
    return value, _pairs(plain, depth)


def _collection(value: Any, depth: int) -> tuple:
    return _pairs(value, depth) if isinstance(value, dict) else _items(value, depth)


_KINDS: tuple[tuple[Any, Callable], ...] = (
    (types.FunctionType, _function),
    (nn.Module, _module),
    (types.MethodType, _method),
    (functools.partial, _partial),
    (type, _class),
    ((tuple, list, dict, set, frozenset), _collection),
)

"""Whether folding time into the batch gives what stepping gives: found out by doing both on a copy."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from . import backends
from .fusion.blame import users_level
from .layers.layer import Layer
from .layers.states import zero_states

STEPS, BATCH = 3, 2
"""How much of a sequence is looked at unasked."""
MOST_INPUT, MOST_WEIGHTS = 100_000, 2_000_000
"""Elements of that input, and of the parameters, up to which it is."""
COVERS_TIME = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.RReLU)
"""Modules that are documented to cover all of time at once while training."""
WAY_OUT = ("use fold=False, or check=False where it is meant")
Runner = Callable[[nn.Module, Tensor, bool], Any]
_looked_at: WeakKeyDictionary[nn.Module, set[bool]] = WeakKeyDictionary()


def check_folding(module: nn.Module, x: Tensor, run: Runner) -> None:
    """Raise ValueError where folding gives something else than stepping, or stepping twice gives two results.

    Args:
        x: [T, B, ...].
        run: (module, x, folded) -> output, from the states that the module has.
    """
    folded, stepped, again = _outputs(lambda: copy.deepcopy(module), x, run)
    if not _same(stepped, again):
        raise ValueError("tt.scan(check=True): stepping twice gives two results, so there is nothing to compare")
    _compare("tt.scan(check=True)", module, folded, stepped)


def glance(module: nn.Module, x: Tensor, run: Runner) -> bool:
    """Check a module's first scan on a few steps and elements, in float64; return whether that could be done.

    Batch norm and dropout, which are documented to cover all of time, are in evaluation mode meanwhile.

    Raises:
        ValueError: folding gives something else than stepping.
    """
    module = _inner(module)
    modes = _looked_at.setdefault(module, set())
    if module.training in modes:
        return True
    x = x[:STEPS, :BATCH].detach()
    weights = sum(p.numel() for p in module.parameters())
    if len(x) < 2 or x.numel() > MOST_INPUT or weights > MOST_WEIGHTS or not x.is_floating_point():
        return False
    try:
        with warnings.catch_warnings(), backends.backend("eager"), torch.autocast(x.device.type, enabled=False):
            warnings.simplefilter("ignore")
            folded, stepped, again = _outputs(lambda: _twin(module), x.double(), run)
    except Exception:       # it can't be copied, or does not run in float64 or on so small a batch: nothing is known
        return False
    modes.add(module.training)
    if _same(stepped, again):       # else it draws random numbers of its own
        _compare("tt.scan", module, folded, stepped)
    return True


def plain_attributes(module: nn.Module) -> dict[tuple[str, str], tuple[Any, Any]]:
    """Return what a module and those inside hold besides layers' states: attributes and buffers, with versions."""
    found: dict[tuple[str, str], tuple[Any, Any]] = {}
    for path, child in module.named_modules():
        if not isinstance(child, (Layer, *COVERS_TIME)) and not type(child).__module__.startswith("torch."):
            for name, value in (*vars(child).items(), *child._buffers.items()):
                if not name.startswith("_") and isinstance(value, (Tensor, int, float, list, tuple, type(None))):
                    version = value._version if isinstance(value, Tensor) and not value.is_inference() else None
                    found[path, name] = value, len(value) if isinstance(value, list) else version
    return found


def warn_of_changes(module: nn.Module, before: dict[tuple[str, str], tuple[Any, Any]]) -> None:
    """Warn of an attribute that a folded forward has assigned, where a glance could not tell whether that matters."""
    after = plain_attributes(module)
    for key, (value, version) in after.items():
        old = before.get(key)
        if old is None or old[0] is not value or old[1] != version:
            path, name = key
            full = f"{type(module).__name__}.{path}.{name}" if path else f"{type(module).__name__}.{name}"
            warnings.warn(f"tt.scan: {full} was assigned while time was folded into the batch, so it holds all time "
                          "steps at once; where a later step is to read it, the result is another one than in "
                          f"stepping: {WAY_OUT}", stacklevel=users_level())
            return


def _inner(module: nn.Module) -> nn.Module:
    """Return the module inside a wrapper of torch's, which can't be copied."""
    while True:
        wrapped = getattr(module, "module", None) if type(module).__module__.startswith(
            ("torch.nn.parallel", "torch.distributed")) else getattr(module, "_orig_mod", None)
        if not isinstance(wrapped, nn.Module):
            return module
        module = wrapped


def _twin(module: nn.Module) -> nn.Module:
    twin = copy.deepcopy(module).double()
    zero_states(twin)
    for child in twin.modules():
        if isinstance(child, COVERS_TIME):
            child.eval()
    return twin


def _outputs(make: Callable[[], nn.Module], x: Tensor, run: Runner) -> list[list[Tensor]]:
    """Return the tensors that a folded run gives, and two that step."""
    found = []
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []), torch.no_grad():
        for folded in (True, False, False):
            twin = make()
            torch.manual_seed(0)
            found.append([leaf for leaf in tree_leaves(run(twin, x, folded)) if isinstance(leaf, Tensor)])
    return found


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def _compare(where: str, module: nn.Module, folded: list[Tensor], stepped: list[Tensor]) -> None:
    for one, other in zip(folded, stepped, strict=True):
        if one.shape != other.shape or not torch.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True):
            worst = float((one - other).abs().max()) if one.shape == other.shape else float("inf")
            raise ValueError(f"{where}: folding differs from stepping by up to {worst:.3g}; a part of "
                             f"{type(module).__name__} mixes its batch or carries something from step to step that "
                             "is no tracetorch state (batch norm in training mode, feedback in Python): "
                             f"{WAY_OUT}")

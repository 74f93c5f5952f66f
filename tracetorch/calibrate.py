"""calibrate: scale weights layer by layer until every firing layer fires at a wanted rate."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .activity import Neurons, Report, activity, table
from .layers.layer import Layer
from .layers.model import named_layers
from .layers.states import zero_states
from .scan import scan

CLOSE = 0.02
"""How near to the target, relative to it, the search stops."""
DOUBLINGS, HALVINGS = 20, 40
"""How far from 1 a factor is looked for, and how often the interval around it is halved."""
SCALABLE = (nn.Linear, nn.Bilinear, nn.Embedding, nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.LayerNorm,
            nn.GroupNorm, nn.RMSNorm)
"""Modules whose output is proportional to their weight and bias together."""


@dataclass(frozen=True)
class Step:
    """What was done for one layer: `module` was scaled by `factor`, the rate went from `before` to `after`."""

    layer: str
    module: str
    factor: float
    before: float
    after: float


@dataclass(frozen=True)
class Calibration:
    """What `tt.calibrate` did, layer by layer; prints as a table, and shows itself in a notebook."""

    rate: float
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        return f"calibrated to a rate of {table.share(self.rate)}\n\n" + table.text(*self._table())

    def _repr_html_(self) -> str:
        return f"<p>calibrated to a rate of {table.share(self.rate)}</p>" + table.html(*self._table())

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = [[s.layer, table.share(s.before), table.share(s.after), s.module, f"{s.factor:.3g}"] for s in self.steps]
        return ["layer", "rate before", "rate after", "scaled", "by"], rows


def calibrate(model: nn.Module, x: Tensor, *, rate: float = 0.1, lengths: Tensor | list[int] | None = None,
              time_dim: int = 0, fold: bool = True, tolerance: float = 0.1) -> Calibration:
    """Scale the weights and bias before each firing layer, in the order of the layers, so that it fires at `rate`.

        weight = factor*weight        bias = factor*bias        mean rate on x = rate

    What is scaled is the module with weights that runs last before the layer, a normalisation's weights included. The
    rate is that of `tt.activity`, the mean over neurons, from fresh states; the states of the model stay. Nothing is
    changed before the whole is known to succeed.

    Args:
        model: any module with layers inside, as in `tt.scan`.
        x: [T, B, ...], a batch like those to train on.
        rate: wanted share of steps with a spike, in (0, 1).
        lengths, time_dim, fold: as in `tt.scan`.
        tolerance: how far from `rate`, relative to it, a layer may end up.

    Returns:
        What was done: `.steps` holds layer, module, factor, and rate before and after; it prints as a table.

    Raises:
        TypeError: no module, or no tensor.
        ValueError: what `tt.activity` refuses; no layer that fires; a rate or tolerance out of range; a layer without
            a module with weights before it, or with one that is used elsewhere too; a rate that no factor reaches.
        RuntimeError: a layer called twice in one step.

    Source: follows the layer-sequential initialisation of Mishkin and Matas, All you need is a good init (2016), with
    the rate in place of the variance of the output, and without the orthogonal start.
    """
    model = getattr(model, "_orig_mod", model)      # what torch.compile wraps
    for name, value in (("rate", rate), ("tolerance", tolerance)):
        if not 0 < value < 1:
            raise ValueError(f"tt.calibrate: {name} must lie in (0, 1), got {value}")
    if isinstance(model, Layer):
        raise ValueError(f"tt.calibrate: {type(model).__name__} is a layer alone, with no module with weights before "
                         "it; give the model that holds both")
    options: dict[str, Any] = {"lengths": lengths, "time_dim": time_dim, "fold": fold}
    before = activity(model, x, **options)
    factors: dict[str, tuple[str, float]] = {}
    with torch.inference_mode(False):
        twin = copy.deepcopy(model)
        for layer, module in _pairs(twin, before, x, time_dim).items():
            factor = _search(twin, layer, _arriving(twin, layer, x, options), lengths, rate, tolerance)
            _scale(twin.get_submodule(module), factor)
            factors[layer] = module, factor
        after = activity(twin, x, **options)
    for layer, (module, factor) in factors.items():
        _check(after.layers[layer], module, factor, rate, tolerance)
    for module, factor in factors.values():
        _scale(model.get_submodule(module), factor)
    return Calibration(rate, tuple(
        Step(_title(model, layer), _title(model, module), factor, before.layers[layer].rate or 0.0,
             after.layers[layer].rate or 0.0)
        for layer, (module, factor) in factors.items()))


def _title(model: nn.Module, path: str) -> str:
    """Name a module of the model by path and class."""
    return f"{path} {type(model.get_submodule(path)).__name__}".strip()


def _pairs(model: nn.Module, before: Report, x: Tensor, time_dim: int) -> dict[str, str]:
    """Return for each firing layer, in the order in which they run, the module whose weights are scaled for it."""
    layers = [path for path, _ in named_layers(model)]
    pairs: dict[str, str] = {}
    last: str | None = None
    called = _order(model, x.narrow(time_dim, 0, 1), time_dim)
    for path in called:
        if path not in layers:
            last = path
        elif before.layers[path].rate is not None:
            if last is None:
                raise ValueError(f"tt.calibrate: {before.layers[path].title} has no module with weights before it that "
                                 "could be scaled for it alone; put an nn.Linear there")
            pairs[path], last = last, None
    if not pairs:
        raise ValueError("tt.calibrate: no layer of the model fires; there is nothing to calibrate")
    for layer, module in pairs.items():
        _refuse_shared(model, module, called.count(module), before.layers[layer].title)
    return pairs


def _order(model: nn.Module, x: Tensor, time_dim: int) -> list[str]:
    """Return the paths of layers and of modules with weights as one step calls them; not of what lies in layers."""
    called: list[str] = []
    outer = [path for path, _ in named_layers(model)]
    hooks = [module.register_forward_pre_hook(lambda module, args, path=path: called.append(path))
             for path, module in model.named_modules()
             if (isinstance(module, Layer) or _has_weights(module))
             and not any(path.startswith(f"{layer}.") or (not layer and path) for layer in outer)]
    _scan(model, x, time_dim=time_dim)
    for hook in hooks:
        hook.remove()
    return called


def _has_weights(module: nn.Module) -> bool:
    """Say whether scaling a module's weight and bias scales its output."""
    return isinstance(module, SCALABLE) and getattr(module, "weight", None) is not None


def _refuse_shared(model: nn.Module, path: str, calls: int, layer: str) -> None:
    """Raise ValueError where scaling a module's parameters would change more than what comes before one layer."""
    module = model.get_submodule(path)
    if parametrize.is_parametrized(module):
        raise ValueError(f"tt.calibrate: {path}, before {layer}, is parametrised, so its weights can't be scaled; "
                         "calibrate first and add the parametrisation then")
    mine = {id(p) for p in module.parameters()}
    tied = [other for other, m in model.named_modules()
            if m is not module and mine & {id(p) for p in m.parameters(recurse=False)}]
    if calls > 1 or tied:
        also = f"shares weights with {tied[0]}" if tied else f"is called {calls} times in one step"
        raise ValueError(f"tt.calibrate: {path}, before {layer}, {also}, so scaling it changes more than this layer; "
                         "give the layer a module of its own")


def _scale(module: nn.Module, factor: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            parameter.mul_(factor)


def _arriving(model: nn.Module, path: str, x: Tensor, options: dict[str, Any]) -> Tensor:
    """Return what a layer gets over all of time: [T, B, ...]."""
    seen: list[Tensor] = []
    hook = model.get_submodule(path).register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    x = x.movedim(options["time_dim"], 0).contiguous()      # time is folded in the order in which x lies
    _scan(model, x, **{**options, "time_dim": 0})
    hook.remove()
    return torch.cat(seen).unflatten(0, (len(x), -1))     # [T*B, ...] -> [T, B, ...]


def _scan(model: nn.Module, x: Tensor, **options: Any) -> None:
    """Scan from fresh states, the same random numbers each time."""
    zero_states(model)
    with torch.no_grad(), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        scan(model, x, check=False, **options)


def _search(model: nn.Module, path: str, x: Tensor, lengths: Any, rate: float, tolerance: float) -> float:
    """Return the factor on a layer's input at which it fires at `rate`."""
    layer = model.get_submodule(path)
    seen: dict[float, float] = {}

    def reached(factor: float) -> float:
        seen[factor] = activity(layer, factor * x, lengths=lengths).layers[""].rate or 0.0
        return seen[factor]

    low = high = 1.0
    while reached(high) < rate and high < 2.0**DOUBLINGS:
        low, high = high, 2 * high
    while reached(low) >= rate and low > 2.0**-DOUBLINGS:
        low, high = low / 2, low
    for _ in range(HALVINGS):
        best = min(seen, key=lambda factor: abs(seen[factor] - rate))
        if abs(seen[best] - rate) <= CLOSE * rate:
            break
        middle = math.sqrt(low * high)
        low, high = (middle, high) if reached(middle) < rate else (low, middle)
    if abs(seen[best] - rate) > tolerance * rate:
        lowest, nearest, highest = (table.share(r) for r in (min(seen.values()), seen[best], max(seen.values())))
        raise ValueError(f"tt.calibrate: {_title(model, path)} does not reach a rate of {table.share(rate)}: scaling "
                         f"what it gets, it fires at {lowest} to {highest}, nearest at {nearest}. Choose a rate within "
                         "reach, or other thresholds; the model is unchanged")
    return best


def _check(layer: Neurons, module: str, factor: float, rate: float, tolerance: float) -> None:
    """Raise ValueError where the scaled model does not fire as its layer alone does."""
    assert layer.rate is not None
    if abs(layer.rate - rate) > tolerance * rate:
        raise ValueError(f"tt.calibrate: {layer.title} fires at {table.share(layer.rate)} once {module} is scaled by "
                         f"{factor:.3g}, though at {table.share(rate)} where what arrives is scaled: something between "
                         "them is not proportional (tanh, batch norm without weights). Put a module with weights "
                         "behind it; the model is unchanged")

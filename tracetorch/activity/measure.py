"""The verb: scan a copy of the model, a chunk of time after another, and count."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..check import STEPS
from ..layers.feedback import Feedback
from ..layers.layer import Layer
from ..layers.model import named_layers
from ..layers.states import zero_states
from ..padding import checked_lengths, live_mask
from ..scan import scan
from .neurons import NeuronCount
from .report import Report
from .synapses import Functions, SynapseCount, countable, uncounted

BUDGET = 2**23
"""How many recorded numbers of all layers together one chunk of time may hold: 32 MiB in float32."""


def activity(model: nn.Module, x: Tensor, *, lengths: Tensor | list[int] | None = None, time_dim: int = 0,
             fold: bool = True, accumulate_cost: float = 1.0, gradient_fraction: float = 0.1) -> Report:
    """Scan a copy of a model from fresh states and report what its neurons and synapses did.

        rate                    share of steps at which a neuron sent a spike (smooth spikes: their mean size)
        multiplications         of a layer with weights, computed densely at every step
        synaptic operations     its non-zero inputs times their fan-out, the outputs that an input is summed into

    An operation is an accumulate where the input is 1 or -1, else a multiply-accumulate. At the break-even share of
    non-zero inputs the operations cost as much as the multiplications. These are counts, not energies. `nn.Linear` and
    `nn.Conv1d` to `nn.Conv3d` are counted wherever they are called as modules. States, gradients, buffers and the
    random generator stay as they are; dropout and batch norm act as the mode of the model says.

    Args:
        model: a layer, or any module, as in `tt.scan`.
        x: [T, ...] for a layer, [T, B, ...] for another module.
        lengths: [B] whole numbers for a padded batch; what lies past an element's length is not counted.
        time_dim: where time lies in `x`.
        fold: False steps through time in Python, for a module that can't be folded.
        accumulate_cost: cost of an accumulate, above 0, in units of a multiply-accumulate. It sets the break-even.
        gradient_fraction: in (0, 1]; gradient is said to get through where the derivative of the spike function is at
            least this fraction of its peak.

    Returns:
        A report that prints as a table and shows itself in a notebook: `.layers` and `.synapses` hold the numbers by
            path, `.attention` says what needs attention and what to try, `.to_dict()` gives plain numbers.

    Raises:
        TypeError: no module, or no tensor.
        ValueError: what `tt.scan` refuses, an empty `x`, a cost or fraction out of range.
        RuntimeError: a layer called twice in one step.
    """
    model = getattr(model, "_orig_mod", model)      # what torch.compile wraps
    steps = _time_first(model, x, time_dim)
    if not accumulate_cost > 0:
        raise ValueError(f"tt.activity: accumulate_cost must be greater than 0, got {accumulate_cost}")
    if not 0 < gradient_fraction <= 1:
        raise ValueError(f"tt.activity: gradient_fraction must lie in (0, 1], got {gradient_fraction}")
    ends = None if lengths is None else checked_lengths(lengths, steps)
    if ends is not None and not ends.any():
        raise ValueError("tt.activity: lengths are all 0: there is nothing to count")
    with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        twin = copy.deepcopy(model)
        zero_states(twin)
        if fold and not isinstance(model, Layer):
            scan(copy.deepcopy(twin), steps[:STEPS], backend="eager")       # says aloud where it may not be folded
        watch = Watch(twin, steps, gradient_fraction)
        for start, stop in _chunks(watch, len(steps), fold):
            watch.run(steps[start:stop], None if ends is None else (ends - start).clamp(0, stop - start))
    return Report(
        steps=len(steps), batch=watch.batch, elements=watch.batch * len(steps) if ends is None else int(ends.sum()),
        gradient_fraction=gradient_fraction, accumulate_cost=accumulate_cost, notes=tuple(watch.notes()),
        layers={path: count.result() for path, count in watch.neurons.items() if count.ran},
        synapses={path: count.result(accumulate_cost) for path, count in watch.synapses.items() if count.ran})


def _time_first(model: nn.Module, x: Tensor, time_dim: int) -> Tensor:
    """Return `x` with time as its first dimension."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"tt.activity: expected a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(x, Tensor):
        raise TypeError(f"tt.activity: the input must be one tensor, as in tt.scan, got {type(x).__name__}; for a "
                        "model with several inputs join them in one tensor and take it apart in forward")
    if not -x.ndim <= time_dim < x.ndim:
        raise ValueError(f"tt.activity: time_dim={time_dim} is out of range for x of shape {list(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"tt.activity: x is empty (shape {list(x.shape)}): there is nothing to count")
    return x.movedim(time_dim, 0)


def _chunks(watch: Watch, length: int, fold: bool) -> Iterator[tuple[int, int]]:
    """Yield start and stop of one chunk of time after another: one step first, then as many as the budget allows."""
    start, size = 0, length if fold and watch.mixes_time else 1
    while start < length:
        yield start, min(start + size, length)
        start += size
        size = max(1, BUDGET // max(1, watch.recorded)) if fold else 1


class Watch:
    """What a model is watched with: hooks on modules, and names to record of layers that are scanned as a whole.

    Attributes:
        mixes_time: whether folding makes results depend on how many steps are folded (batch norm in training).
        recorded: numbers recorded per step of time.
    """

    def __init__(self, model: nn.Module, steps: Tensor, fraction: float) -> None:
        self.model, self.recorded = model, 0
        self.batch = steps.shape[1] if steps.ndim > 2 or (steps.ndim > 1 and not isinstance(model, Layer)) else 1
        self.mixes_time = any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in model.modules())
        self.neurons: dict[str, NeuronCount] = {}
        self.synapses: dict[str, SynapseCount] = {}
        self.functions = Functions(model)
        for path, layer in named_layers(model):
            self.neurons[path] = count = NeuronCount(path, layer, fraction, stepped=self._is_stepped(path, layer))
            layer.register_forward_pre_hook(lambda layer, args, count=count: self._refuse_second_call(count))
            if count.stepped:
                layer.register_forward_hook(lambda layer, args, y, count=count: self._output(count, y))
        for path, module in model.named_modules():
            if countable(module):
                self.synapses[path] = weights = SynapseCount(path, module)
                module.register_forward_hook(
                    lambda module, args, kwargs, y, weights=weights: self._synapses(weights, args, kwargs, y),
                    with_kwargs=True)

    def _is_stepped(self, path: str, layer: Layer) -> bool:
        """Say whether a scan steps the layer: hooks count its path, its forward is its own, or it lies in such."""
        inside = any(count.stepped and (not outer or path.startswith(f"{outer}."))
                     for outer, count in self.neurons.items())
        return inside or not layer.fuses or isinstance(layer, Feedback)

    def run(self, x: Tensor, lengths: Tensor | None) -> None:
        """Scan a chunk of time and count."""
        self._length = len(x)
        self._live = None if lengths is None else live_mask(lengths, len(x), 2)       # [T, B]
        self._calls = dict.fromkeys([*self.neurons.values(), *self.synapses.values()], 0)
        whole = [count for count in self.neurons.values() if not count.stepped]
        names = tuple(name for count in whole for name in count.recorded.values())
        with self.functions, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Feedback is scanned step by step.*hooks")      # they are ours
            y = scan(self.model, x, record=names, lengths=lengths, check=False)
        recordings: dict[str, Tensor] = y[1] if names else {}
        self.recorded = sum(recording.numel() for recording in recordings.values()) // len(x)
        for count in whole:
            found = {name: recordings[full] for name, full in count.recorded.items() if full in recordings}
            if found:
                count.add(found, self._live)

    def notes(self) -> Iterator[str]:
        """Say what could not be counted."""
        counts: list[NeuronCount | SynapseCount] = [*self.neurons.values(), *self.synapses.values()]
        for count in counts:
            if not count.ran:
                yield f"{count.title} was not called."
            elif isinstance(count, NeuronCount) and count.unknown:
                yield f"{count.title}: {count.unknown}."
        for path, module in self.model.named_modules():
            if uncounted(module):
                yield f"{path or 'the model'} ({type(module).__name__}): its operations are not counted."
        if self.functions.seen:
            names = ", ".join(sorted(self.functions.seen))
            yield f"Functions that multiply were called outside of modules ({names}): their operations are not counted."

    def _refuse_second_call(self, count: NeuronCount) -> None:
        self._calls[count] += 1
        if self._calls[count] > (self._length if count.stepped else 1):
            raise RuntimeError(f"tt.activity: {count.title} is called twice in one step; what it does can't be told "
                               "apart then: use two layers")

    def _output(self, count: NeuronCount, y: Any) -> None:
        """Count what a layer sent at the step that it has just been called for."""
        live = None if self._live is None else self._live[self._calls[count] - 1, None]      # [1, B]
        count.add({"output": y[None]}, live)

    def _synapses(self, count: SynapseCount, args: tuple, kwargs: dict[str, Any], y: Tensor) -> None:
        x = args[0] if args else kwargs["input"]
        step = self._calls[count]
        self._calls[count] += 1
        live = None
        if self._live is not None:
            if len(x) == self._live.numel():
                live = self._live.flatten()                  # [T*B]
            elif len(x) == self._live.shape[1] and step < self._length:
                live = self._live[step]                      # [B]
            else:
                raise ValueError(f"tt.activity: with lengths the first size of what {count.title} gets must be that of "
                                 f"the batch, once per step; got {list(x.shape)}")
        count.add(x, y, live)

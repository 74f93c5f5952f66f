"""A composed step, captured into two pieces of straight-line code: forward, and backward from the old states."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..functional.random import TracingStream
from ..pipeline import Step
from .blame import LIBRARY, here, where
from .callables import bind, lifted
from .code import Body, Name, Unsupported
from .operators import Recorder

ASKS = frozenset((
    "shape", "ndim", "requires_grad", "is_leaf", "grad_fn", "grad", "_version", "layout", "names", "is_sparse",
    "output_nr", "size", "dim", "numel", "nelement", "__len__", "stride", "is_contiguous", "data_ptr", "storage",
    "untyped_storage", "storage_offset", "retains_grad", "is_inference", "is_shared", "is_pinned", "nbytes",
    "sym_size", "ndimension",
))
"""Questions about a tensor that are answered for the few elements on which a step is captured."""
DEVICE = frozenset(("device", "is_cuda", "is_cpu", "get_device", "is_meta"))
"""These are answered rightly for the CPU."""
SIZES = (3, 5)      # two, so that a number taken from the shape or the values shows as a difference
DECOMPOSED = """addcdiv addcmul celu deg2rad elu elu_backward frac gelu gelu_backward hardshrink hardsigmoid
    hardsigmoid_backward hardswish hardswish_backward hardtanh hardtanh_backward heaviside isinf isneginf
    isposinf leaky_relu leaky_relu_backward lerp log_sigmoid_backward log_sigmoid_forward logaddexp logaddexp2
    mish mish_backward nan_to_num prelu rad2deg silu silu_backward sinc softshrink special_entr
    special_log_ndtr special_xlog1py threshold threshold_backward xlogy"""


class CannotCapture(Exception):
    """The step cannot become a fused kernel; the text says which stage and line, and why."""


@dataclass(frozen=True)
class CapturedStep:
    """One time step as straight-line code.

    forward:  (x, *states, *params) -> (y, *states, *recordings)
    backward: (x, *states, *params, gy, *gstates, *grecordings) -> (gx, *gstates, *gparams), recomputing what it needs
        of the step from the old states.

    `params` are the pipeline's and then the lifted ones (`spike_fn.slope`); `draws` counts random numbers per
    element and step. `asks_device` says whether the step has asked for the device of a tensor, which is the CPU here.
    `kernels` is where backends keep what they make of it.
    """

    name: str
    forward: Body
    backward: Body
    states: tuple[str, ...]
    starts: tuple[float, ...]
    params: tuple[str, ...]
    lifted: tuple[str, ...]
    record: tuple[str, ...]
    draws: int
    dtype: torch.dtype
    asks_device: bool = False
    kernels: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


def capture(step: Step, dtype: torch.dtype, record: tuple[str, ...] = ()) -> CapturedStep:
    """Capture `step` computed in `dtype`; raises CannotCapture."""
    states = tuple(step.pipeline.states)
    free = tuple(lifted(step))
    params = (*step.pipeline.parameters, *free)
    call = _Flat(step, states, params, free, record)
    with _clean():
        first, second = (call.bodies(dtype, size) for size in SIZES)
        with torch.no_grad():
            plain = _record(call.forward, call.inputs, dtype, SIZES[0])[0]
    if first != second:
        raise CannotCapture(
            "the step computes with the size of its input or with numbers taken from its values, which are "
            "others in the next call; a fused step is elementwise"
        )
    if plain != first[0]:
        raise CannotCapture("the step computes something else where gradients are off (torch.is_grad_enabled())")
    starts = tuple(float(step.pipeline.states[s].init) for s in states)
    return CapturedStep(step.name, *first, states, starts, params, free, record, call.draws, dtype, call.asks_device)


def derivative(activation: Callable[[Tensor], Tensor], dtype: torch.dtype) -> Body:
    """Trace (raw, gradient of activation(raw)) -> (gradient of raw,); raises CannotCapture."""

    def function(raw: Tensor, gradient: Tensor) -> list[Tensor]:
        raw = raw.detach().requires_grad_()
        return _gradients([activation(raw)], [gradient], [raw])

    with _clean():
        return _record(function, ["raw", "gradient"], dtype, SIZES[0])[0]


@contextlib.contextmanager
def _clean() -> Iterator[None]:
    """Trace as if nothing surrounded the call: no inference mode, autocast, grad mode or random stream."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        for device in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


class _Flat:
    """The step on a flat list of tensors, and its derivative."""

    def __init__(self, step: Step, states: tuple, params: tuple, free: tuple, record: tuple):
        self.step, self.states, self.params, self.free, self.record = step, states, params, free, record
        self.draws = 0
        self.asks_device = False
        roots = ["x", *(f"s_{n}" for n in states), *(f"p_{n}" for n in params)]
        cotangents = ["gy", *(f"g_{n}" for n in states), *(f"r_{n}" for n in record)]
        self.inputs, self.names = _identifiers(roots), _identifiers([*roots, *cotangents])

    def forward(self, *flat: Tensor) -> tuple[Tensor, ...]:
        ns = len(self.states)
        states = dict(zip(self.states, flat[1 : 1 + ns], strict=True))
        params = dict(zip(self.params, flat[1 + ns :], strict=True))
        step = bind(self.step, {n: params.pop(n) for n in self.free})
        with TracingStream() as stream:
            y, new, recordings = step(flat[0], states, params, self.record)
        self.draws = stream.draws
        return (y, *(new[n] for n in self.states), *(recordings[n] for n in self.record))

    def backward(self, *flat: Tensor) -> list[Tensor]:
        inputs = [v.detach().requires_grad_() for v in flat[: len(self.inputs)]]
        every = zip(self.forward(*inputs), flat[len(inputs) :], strict=True)
        pairs = [(output, cotangent) for output, cotangent in every if output.requires_grad]
        if not pairs:
            return [torch.zeros_like(v) for v in inputs]
        outputs, cotangents = zip(*pairs, strict=True)
        return _gradients(outputs, cotangents, inputs)

    def bodies(self, dtype: torch.dtype, size: int) -> tuple[Body, Body]:
        forward, asked = _record(self.forward, self.inputs, dtype, size)
        backward, asked_again = _record(self.backward, self.names, dtype, size)
        self.asks_device |= asked or asked_again
        return forward, backward


def _record(function: Callable, names: list[str], dtype: torch.dtype, size: int) -> tuple[Body, bool]:
    """Run a function on examples of `size` elements and write down what it computes; say if it asked for a device."""
    generator = torch.Generator().manual_seed(size)
    examples = [torch.rand(size, dtype=dtype, generator=generator) for _ in names]
    recorder = Recorder(examples, names)
    try:
        with _Escapes() as escapes, _Calls(recorder):
            outputs = function(*examples)
        return recorder.body(outputs), escapes.asks_device
    except (CannotCapture, Unsupported) as error:
        raise CannotCapture(str(error)) from None
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        place = where(error.__traceback__)
        raise CannotCapture(f"{place}{type(error).__name__}: {reason}") from error


def _gradients(outputs: Sequence[Tensor], cotangents: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    # torch.autograd.grad would import the symbolic shapes, half a second, to check that the sizes agree
    grads = torch.autograd.Variable._execution_engine.run_backward(
        tuple(outputs), tuple(cotangents), False, False, tuple(inputs), allow_unreachable=True, accumulate_grad=False
    )
    return [torch.zeros_like(v) if g is None else g for v, g in zip(inputs, grads, strict=True)]


class _Calls(TorchDispatchMode):
    """Hands every ATen operator to the recorder, some as what they decompose into."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False    # True would import torch.compile's machinery, two seconds, at the first call

    def __init__(self, recorder: Recorder):
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        table = _decompositions()
        with self:
            out = table[func](*args, **kwargs) if func in table else func.decompose(*args, **kwargs)
        if out is not NotImplemented:
            return out
        if func is torch.ops.aten._local_scalar_dense.default:
            return self.number(func, args[0])
        if func is torch.ops.aten._efficientzerotensor.default:     # zeros that lie nowhere
            func = torch.ops.aten.zeros.default
        out = func(*args, **kwargs)
        try:
            self.recorder.call(func, args, kwargs, out)
        except Unsupported as error:
            raise CannotCapture(f"{here()}{func} {error}") from None
        return out

    def number(self, func: OpOverload, tensor: Tensor) -> float:
        """Read a tensor as a Python number: only if it is the same in every call."""
        if isinstance(self.recorder.value(tensor), Name):
            raise CannotCapture(f"{here()}a Python branch or number depends on the values of a tensor; use torch.where")
        return func(tensor)


class _Escapes(TorchFunctionMode):
    """Refuses what leaves torch unseen by the dispatcher, and questions that the next call answers otherwise."""

    asks_device = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (Tensor.numpy, Tensor.tolist, Tensor.__array__):
            raise CannotCapture(f"{here()}{func.__name__}() leaves torch; a fused step is torch operators only")
        name = getattr(getattr(func, "__self__", None), "__name__", "") if func.__name__ == "__get__" else func.__name__
        if name in ASKS | DEVICE and not _caller().startswith(LIBRARY):
            if name in ASKS:
                raise CannotCapture(f"{here()}asks a tensor for its {name.strip('_')}, which is another one in the "
                                    "next call; a fused step is elementwise (zeros_like and expand_as need no shape)")
            self.asks_device = True
        return func(*args, **(kwargs or {}))


def _caller() -> str:
    """Return the file whose code has called a function of torch that is being looked at."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.endswith(("torch/_tensor.py", "torch/overrides.py")):
        frame = frame.f_back
    return frame.f_code.co_filename


def _identifiers(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        text = re.sub(r"\W", "_", name)
        while text in found:
            text += "_"
        found.append(text)
    return found


_table: dict = {}


def _decompositions() -> dict:
    if not _table:
        aten = torch.ops.aten
        packets = [getattr(aten, name) for name in DECOMPOSED.split() if hasattr(aten, name)]
        _table.update(get_decompositions(packets))
    return _table

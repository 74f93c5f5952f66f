"""Compiling a layer's kernels without a GPU, to read what they need of one."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ...fusion.activations import activations_in_kernel
from ...fusion.callables import lifted
from ...fusion.capture import CannotCapture
from ...fusion.code import Unsupported
from ...pipeline import Step
from ..plan import Call
from ..program import Shape
from . import launch
from .activations import constants, kernel_of
from .backend import chain_of
from .chain import Chain
from .loops import scan_backward, scan_forward
from .tuples import INTERPRETED

POINTER = {torch.float32: "*fp32", torch.float64: "*fp64", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
ALIGNED = [["tt.divisibility", 16]]


@dataclass(frozen=True)
class CompiledKernel:
    """One compiled kernel: registers per thread, spilled and shared memory in bytes, and its PTX text."""

    name: str
    registers: int
    spills: int
    shared: int
    ptx: str = field(repr=False)
    cubin: bytes = field(repr=False)


def aot(step: Step, call: Call, io: torch.dtype, arch: str) -> list[CompiledKernel]:
    """Compile the kernels of a step for an architecture such as "sm_90"; `io` is the dtype of input and output."""
    if INTERPRETED:
        raise RuntimeError("aot: Triton's interpreter is on and compiles nothing; unset TRITON_INTERPRET")
    target = target_of(arch)
    try:
        return [compile_for(target, *kernel) for kernel in kernels(step, call, io)]
    except (CannotCapture, Unsupported) as error:
        raise RuntimeError(f"aot: {error}") from None


def target_of(arch: str) -> GPUTarget:
    """Return what Triton calls an architecture such as "sm_90"."""
    return GPUTarget("cuda", int(arch.removeprefix("sm_")), 32)


def kernels(step: Step, call: Call, io: torch.dtype, T: int = 1024, few: bool = False,
            unit: int = 16) -> Iterator[tuple]:
    """Yield the kernels of a training step, each with the types of its arguments and its constants.

    T: length of the scan; 1 where the step is led back. few, unit: as for `launch.constants`. Raises CannotCapture,
    Unsupported.
    """
    if step.pipeline.looped:
        step, T = step.elementwise(), 1
    compute = call.dtype
    chain = chain_of(step, compute)
    ranks = {**call.ranks, **{n: int(t.numel() != 1) for n, t in lifted(step).items()}}
    arguments = _arguments(chain, io, compute)
    dense = few and launch.is_dense(chain, Shape(T, 1, 1, 1), compute)
    for kernel, which in ((scan_forward, "forward"), (scan_backward, "backward")):
        yield kernel, arguments, launch.constants(chain, launch.steps_of(chain, T, compute), compute,
                                                  tuple(ranks[n] for n in chain.parameters), which,
                                                  few=few, dense=dense, unit=unit)
    through = activations_in_kernel(step, chain.parameters, compute)
    if any(through):
        options = constants(tuple(ranks[n] for n, a in zip(chain.parameters, through, strict=True) if a is not None))
        arguments = {"gradients": POINTER[compute], "raws": (POINTER[compute],) * len(options["RANKS"]), "N": "i32"}
        yield kernel_of(through, compute), arguments, options


def compiled(step: Step, call: Call) -> list[CompiledKernel]:
    """Compile the kernels of a step for the device of a call; none where Triton interprets."""
    if INTERPRETED:
        return []
    major, minor = torch.cuda.get_device_capability(call.device)
    return aot(step, call, call.io, f"sm_{major}{minor}")


def _arguments(chain: Chain, io: torch.dtype, compute: torch.dtype) -> dict:
    """Return the types of every argument of a training step: states start anew, and all gradients are wanted."""
    value, state = POINTER[io], POINTER[compute]
    counts = len(chain.states), len(chain.parameters), chain.recordings
    states, parameters, recordings = ((state,) * n for n in counts)
    tensors = {
        "x": value, "y": value, "gy": value, "gx": value, "start": None, "gstart": None, "gfinal": None,
        "final": states, "saved": state, "recordings": recordings, "grecordings": recordings or None, "par": parameters,
        "gpar": state, "rng": "*i64" if chain.draws else None,
    }  # fmt: skip
    return tensors | dict.fromkeys(("T", "S", "N", "inner", "x_stride", "gy_stride", "lanes", "groups"), "i32")


def compile_for(target: GPUTarget, kernel, arguments: dict, options: dict) -> CompiledKernel:
    """Compile a kernel, given the types of its arguments and its constants."""
    signature, fixed = {}, {}
    attributes: dict[tuple[int, ...], list] = {}
    for i, name in enumerate(kernel.arg_names):
        given = options[name] if name in options else arguments[name]
        constant = name in options or given is None
        signature[name] = "constexpr" if constant else given
        if constant:
            fixed[name] = given
        elif isinstance(given, tuple):
            attributes |= {(i, j): ALIGNED for j in range(len(given))}
        elif given.startswith("*") and not kernel.params[i].do_not_specialize_on_alignment:
            attributes[i,] = ALIGNED
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed, attrs=attributes)
    chosen = {k: v for k, v in options.items() if k in ("num_warps", "enable_fp_fusion", "maxnreg")}
    compiled = triton.compile(source, target=target, options=chosen)
    registers, spills = _usage(compiled.asm["cubin"])
    while spills > launch.SPARED and chosen.get("maxnreg") != launch.LIMITS[-1]:        # as launching does
        chosen["maxnreg"] = launch.roomier(registers)
        compiled = triton.compile(source, target=target, options=chosen)
        registers, spills = _usage(compiled.asm["cubin"])
    return CompiledKernel(kernel.fn.__name__, registers, spills, compiled.metadata.shared, compiled.asm["ptx"],
                          compiled.asm["cubin"])


def _usage(cubin: bytes) -> tuple[int, int]:
    """Return registers per thread and bytes of stack, which these kernels use for nothing but spills."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    if found is None:
        raise RuntimeError(f"cuobjdump says nothing of registers: {text!r}")
    return int(found[1]), int(found[2])

"""Count the machine code of a layer's Triton kernels, compiled for GPUs that need not be there.

    python tools/census.py LIB DSRLITS --arch sm_80 sm_90 --dtype float32 bfloat16 [--few] [--steps 4] [--write NOTE]

One row per kernel: instructions per neuron and step in the main loop, by kind; bytes that its loads and stores move
per neuron and step; registers per thread and warps per multiprocessor; bytes spilled. Executed instructions outside the
main loop are not counted, which matters for a scan of a few steps: "code" is the size of the whole kernel. With --write
the rows go to benchmarks/results/kernels.csv as well.
"""

from __future__ import annotations

import argparse
import collections
import csv
import importlib.metadata
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

import tracetorch as tt

RESULTS = pathlib.Path(__file__).parents[1] / "benchmarks" / "results" / "kernels.csv"
COUNTED = ("kernel", "instructions", "bytes", "registers", "warps", "spills", "code")
KINDS = {
    "fp32": "FADD FMUL FFMA FADD2 FMUL2 FFMA2", "select": "FSETP FSEL FMNMX FSET FCHK", "mufu": "MUFU",
    "load": "LDG LD", "store": "STG ST", "local": "LDL STL",
    "int": "IMAD IADD3 LEA LOP3 SHF ISETP IABS PLOP3 SEL IADD VIADD IMNMX VIMNMX SGXT SHL SHR P2R R2P",
    "convert": "PRMT F2F F2FP I2F F2I HADD2 HMUL2 FRND I2FP", "move": "MOV CS2R S2R S2UR R2UR",
    "uniform": "UIADD3 UIMAD ULEA ULOP3 USHF UISETP USEL UMOV ULDC UPLOP3 UIADD VOTEU UP2UR UR2UP UPRMT",
    "control": "BRA BSYNC BSSY EXIT WARPSYNC CALL RET BAR NOP BREAK", "fp64": "DADD DMUL DFMA DSETP",
}  # fmt: skip
KIND = {op: kind for kind, ops in KINDS.items() for op in ops.split()}
WIDTHS = ((".128", 16), (".64", 8), (".U16", 2), (".S16", 2), (".16", 2), (".U8", 1))
LINE = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(@!?U?P[T\d]+\s+)?([A-Z0-9_.]+)(.*?);")
WARPS = {"sm_75": 32, "sm_80": 64, "sm_86": 48, "sm_89": 48, "sm_90": 64}
BLOCKS = {"sm_75": 16, "sm_80": 32, "sm_86": 16, "sm_89": 24, "sm_90": 32}


@dataclass(frozen=True)
class Count:
    """What one kernel does per neuron and step in its main loop, and what it needs of a multiprocessor."""

    kernel: str
    instructions: float
    bytes: float
    registers: int
    warps: int
    spills: int
    code: int
    kinds: dict[str, float] = field(repr=False)

    def __str__(self) -> str:
        kinds = " ".join(f"{kind} {n:.1f}" for kind, n in self.kinds.items() if n >= 0.05)
        return (f"{self.kernel}: {self.instructions:.1f} instructions, {self.bytes:.2f} bytes; {self.registers} "
                f"registers, {self.warps} warps, {self.spills} spilled; code {self.code}; {kinds}")


def counts(layer: tt.Neuron, arch: str = "sm_90", io: torch.dtype = torch.float32, T: int = 1024,
           few: bool = False) -> Iterator[Count]:
    """Count the two loops over time of a layer; `few`: as where few lanes leave most of the GPU idle."""
    from tracetorch.backends.triton.aot import compile_for, kernels, target_of

    step, call = layer.step_and_call(io, torch.device("cpu"))
    for kernel, arguments, options in kernels(step, call, io, T, few):
        if "STEPS" not in options:
            continue
        compiled = compile_for(target_of(arch), kernel, arguments, options)
        lines = disassembled(compiled.cubin)
        loop = main_loop(lines)
        per_thread = options["STEPS"] * options["BLOCK"] // (32 * options["num_warps"])
        kinds = collections.Counter(KIND.get(op.split(".")[0], "other") for _, op, _ in loop)
        moved = sum(width(op) for _, op, _ in loop if KIND.get(op.split(".")[0]) in ("load", "store"))
        yield Count(compiled.name, len(loop) / per_thread, moved / per_thread, compiled.registers,
                    warps_of(compiled.registers, arch, options["num_warps"]), compiled.spills, len(lines),
                    {kind: n / per_thread for kind, n in kinds.most_common()})


def disassembled(cubin: bytes) -> list[tuple[int, str, str]]:
    """Return (address, operation, operands) of every instruction."""
    import triton

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "-sass", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = (LINE.match(line) for line in text.splitlines())
    return [(int(m[1], 16), m[3], m[4].strip()) for m in found if m]


def main_loop(lines: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """Return the longest innermost loop: the body of the one over segments."""
    index, loops = {address: i for i, (address, *_) in enumerate(lines)}, []
    for i, (address, op, operands) in enumerate(lines):
        to = re.search(r"0x([0-9a-f]+)", operands)
        if op.startswith("BRA") and to and int(to[1], 16) < address:
            loops.append((index[int(to[1], 16)], i))
    inner = [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    first, last = max(inner, key=lambda loop: loop[1] - loop[0])
    return lines[first : last + 1]


def width(op: str) -> int:
    """Return the bytes that a thread moves by a load or a store."""
    return next((size for mark, size in WIDTHS if mark in op), 4)


def warps_of(registers: int, arch: str, num_warps: int) -> int:
    """Return how many warps fit on one multiprocessor."""
    of_a_warp = -(-registers * 32 // 256) * 256
    fit = 65536 // of_a_warp // 4 * 4
    return min(WARPS[arch], fit // num_warps * num_warps, BLOCKS[arch] * num_warps)


def write(note: str, name: str, arch: str, dtype: str, count: Count) -> None:
    """Append a row to RESULTS."""
    row = {"note": note, "triton": importlib.metadata.version("triton"), "neuron": name, "arch": arch, "dtype": dtype}
    row |= {k: f"{v:.2f}" if isinstance(v, float) else v for k, v in vars(count).items() if k in COUNTED}
    fresh = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", nargs="+", help="names of tt.snn, or of stages: Adaptive+Binary")
    parser.add_argument("--arch", nargs="+", default=["sm_80", "sm_90"], choices=list(WARPS))
    parser.add_argument("--dtype", nargs="+", default=["float32"])
    parser.add_argument("--steps", type=int, default=1024, help="length of the scan")
    parser.add_argument("--few", action="store_true", help="one warp per program, as where lanes are few")
    parser.add_argument("--write", metavar="NOTE", help="append rows with this note to benchmarks/results/kernels.csv")
    given = parser.parse_args()
    for name in given.layers:
        stages = name.split("+")
        cls = tt.compose(*(getattr(tt, s) for s in stages)) if len(stages) > 1 else getattr(tt.snn, name)
        for arch in given.arch:
            for dtype in given.dtype:
                for count in counts(cls(64), arch, getattr(torch, dtype), given.steps, given.few):
                    print(name, arch, dtype, count, flush=True)
                    if given.write:
                        write(given.write, name, arch, dtype, count)


if __name__ == "__main__":
    main()

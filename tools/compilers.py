"""The recorded numbers with every C++ compiler that is here: `python tools/compilers.py [g++-11 clang++-14 ...]`.

Prints a row for each: whether clang has libomp, what it was found to lack, seconds to build one neuron, and whether
every neuron agrees with its recorded numbers, forward and backward.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date

NAMES = [f"{name}-{n}" for name, versions in (("g++", range(11, 15)), ("clang++", range(13, 20))) for n in versions]
TESTS = ["tests/golden/test_golden.py", "-k", "float32 and cpp and a_default and scan and not step"]    # all neurons
ASK = """
import time, torch, tracetorch as tt
from tracetorch.backends.cpp import build, compiler
folder = build._writable(build.cache_dir())
flags = compiler.flags(build.compiler(), folder)
start = time.perf_counter()
tt.scan(tt.snn.LIB(4), torch.rand(6, 2, 4), backend="cpp")
lacks = [ways[0][0] for ways in compiler.OPTIONS if not set(ways[0]) <= set(flags)]
print(", ".join(lacks) or "nothing", "|", f"{time.perf_counter() - start:.1f} s")
"""


def row(name: str) -> str:
    """Return the row of one compiler."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "CXX": name, "TRACETORCH_CACHE_DIR": folder, "OMP_NUM_THREADS": "1"}
        asked = subprocess.run([sys.executable, "-c", ASK], env=env, capture_output=True, text=True, check=False)
        if asked.returncode:
            return f"| {name} | {asked.stderr.strip().splitlines()[-1]} | | no |"
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", *TESTS], env=env, capture_output=True, text=True,
                              check=False)
        summary = re.sub(r"(, \d+ deselected)? in .*", "", done.stdout.strip().splitlines()[-1].strip("= "))
        version = subprocess.check_output([name, "-dumpfullversion", "-dumpversion"], text=True).strip()
        libomp = f", {'without' if '-fopenmp' in asked.stdout else 'with'} libomp" if "clang" in name else ""
        return f"| {re.sub('-[0-9]+$', '', name)} {version}{libomp} | {asked.stdout.strip()} | {summary} |"


if __name__ == "__main__":
    print(f"Measured on {date.today()}:\n")
    print("| compiler | lacks | builds a neuron in | recorded numbers |\n|---|---|---|---|")
    for compiler in sys.argv[1:] or filter(shutil.which, NAMES):
        print(row(compiler), flush=True)

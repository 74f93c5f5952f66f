"""Which C++ compiler there is, and what it can do: found out once on a small program, and remembered in the cache."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

NO_COMPILER = (
    "there is no C++ compiler: install g++ or clang++ (`apt-get install g++`, `conda install -c conda-forge "
    "cxx-compiler`, `xcode-select --install`), or one as a package, which takes 400 MB and computes on one thread "
    "(`pip install tracetorch[compiler]`), or name one in the environment variable CXX"
)
# `-ffp-contract=off` is not optional: without it a compiler may round otherwise than eager does.
NEEDED = ("-std=c++17", "-O3", "-shared", "-ffp-contract=off")
# Each left out where a compiler does not know it; of several ways, the first that works is taken. Without OpenMP loops
# run on one thread, and `-fopenmp-simd` still tells the compiler which of them are vectors. Compilers older than the
# processor would use half of its vector registers without the width.
OPTIONS = (
    (("-fPIC",),),
    (("-fno-math-errno",),),
    (("-fno-trapping-math",),),
    (("-march=native",), ("-mcpu=native",)),
    (("-mprefer-vector-width=512",),),
    (("-fopenmp",), ("-Xpreprocessor", "-fopenmp", "-lomp"), ("-fopenmp-simd",)),
)
WINDOWS = ((("-static",),),)    # the runtime of MinGW lies in no place where libraries are looked for
Options = tuple[tuple[tuple[str, ...], ...], ...]
PROBE = """
extern "C" int tracetorch_probe() { return 20250; }
extern "C" int tracetorch_threads(int n) {
    int sum = 0;
#pragma omp parallel for num_threads(n) reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += i;
    return sum;
}
"""


class CompilerFails(RuntimeError):
    """A compiler that is there but does not work."""


def compiler() -> list[str] | None:
    """Return the command of a C++ compiler: CXX, else c++, g++ or clang++, else the package ziglang's, else None."""
    return _search(os.environ.get("CXX", ""), os.environ.get("PATH", ""))


@functools.cache
def _search(named: str, path: str) -> list[str] | None:
    if named:
        command = shlex.split(named, posix=os.name != "nt")
        return command if shutil.which(command[0]) else None
    found = next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    return [found] if found else _packaged()


def _packaged() -> list[str] | None:
    """Return the compiler inside of the package ziglang, where that is installed."""
    found = importlib.util.find_spec("ziglang")
    for folder in (found.submodule_search_locations or ()) if found else ():
        zig = shutil.which("zig", path=folder)
        if zig:
            return [zig, "c++"]
    return None


@functools.cache
def identity(command: tuple[str, ...]) -> str:
    """Return the compiler's real file, size and time: they change with its version, and need no process."""
    path = Path(shutil.which(command[0]) or command[0]).resolve()
    info = path.stat()
    return f"{' '.join(command[1:])}\0{path}\0{info.st_size}\0{info.st_mtime_ns}"


@functools.cache
def processor() -> str:
    """Return what tells this processor from others; where the system does not say, this machine from others."""
    try:
        with open("/proc/cpuinfo") as lines:
            wanted = ("flags", "Features", "model name", "CPU part")
            first = {line.partition(":")[0].strip(): line for line in lines if line.startswith(wanted)}
        return "".join(sorted(first.values()))
    except OSError:
        return f"{platform.node()} {platform.machine()} {platform.processor()}"


def flags(command: list[str], folder: Path) -> tuple[str, ...]:
    """Return the options to compile with; the first call with a compiler tries them, and notes them in `folder`.

    Raises:
        CompilerFails: not even a program of one line can be built.
    """
    found = _flags(tuple(command), folder)
    if isinstance(found, str):
        raise CompilerFails(found)
    return found


def wanted() -> Options:
    """Return the options that are tried on this system."""
    return (*OPTIONS, *(WINDOWS if os.name == "nt" else ()))


@functools.cache
def _flags(command: tuple[str, ...], folder: Path) -> tuple[str, ...] | str:
    options = wanted()
    key = hashlib.sha256(f"{identity(command)}\0{processor()}\0{NEEDED}{options}{PROBE}".encode()).hexdigest()[:32]
    note = folder / f"{key}.flags"
    known = _noted(note, options)
    if known is not None:
        return known
    with tempfile.TemporaryDirectory(dir=folder, prefix="probe-", suffix=".part", ignore_cleanup_errors=True) as name:
        try:
            found = _try(command, options, Path(name))
        except CompilerFails as error:
            return str(error)
        part = Path(name) / "note"
        part.write_text(json.dumps(found))
        part.chmod(0o600)
        os.replace(part, note)
    return found


def _noted(note: Path, options: Options) -> tuple[str, ...] | None:
    """What an earlier process found; only options of ours are believed."""
    try:
        found = json.loads(note.read_text())
    except (OSError, ValueError):
        return None
    ours = {word for ways in options for way in ways for word in way} | set(NEEDED)
    return tuple(found) if isinstance(found, list) and all(word in ours for word in found) else None


def _try(command: tuple[str, ...], options: Options, folder: Path) -> tuple[str, ...]:
    best = (*NEEDED, *(word for ways in options for word in ways[0]))
    if _works(command, best, folder):
        return best
    found: tuple[str, ...] = NEEDED
    _probe(command, found, folder)      # raises where the compiler itself is the cause
    for ways in options:
        found += next((way for way in ways if _works(command, (*found, *way), folder)), ())
    return found


def _works(command: tuple[str, ...], chosen: tuple[str, ...], folder: Path) -> bool:
    try:
        _probe(command, chosen, folder)
    except CompilerFails:
        return False
    return True


def _probe(command: tuple[str, ...], chosen: tuple[str, ...], folder: Path) -> None:
    handle, name = tempfile.mkstemp(dir=folder, suffix=".so")   # a name of its own: what is loaded may stay loaded
    os.close(handle)
    source, target = folder / "probe.cpp", Path(name)
    source.write_text(PROBE)
    run([*command, *chosen, str(source), "-o", str(target)], source)
    try:
        answer = ctypes.CDLL(str(target)).tracetorch_probe()
    except (OSError, AttributeError) as error:
        raise CompilerFails(f"the C++ compiler {shlex.join(command)} wrote a file that can't be loaded: {error}. "
                            "Name another in the environment variable CXX, or use backend='eager'") from None
    if answer != 20250:
        raise CompilerFails(f"the C++ compiler {shlex.join(command)} wrote a program that answers {answer}, not 20250. "
                            "Name another in the environment variable CXX, or use backend='eager'")


def run(command: list[str], source: Path) -> None:
    """Compile `source`.

    Raises:
        CompilerFails: with the compiler's last lines, the command, and what to do.
    """
    try:
        # what is parsed for "no space left" is in English
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False,
                              env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        raise CompilerFails(f"the C++ compiler {command[0]} can't be started: {error}. "
                            "Name another in the environment variable CXX, or use backend='eager'") from None
    if not done.returncode:
        return
    output = (done.stderr or done.stdout).strip()
    how = f"status {done.returncode}" if done.returncode > 0 else f"killed by signal {-done.returncode}"
    advice = "Use backend='eager' meanwhile."
    if "no space left" in output.lower() or "quota exceeded" in output.lower():
        advice = (f"Make room in {source.parent} and in the directory for temporary files, or name others in "
                  f"TRACETORCH_CACHE_DIR and TMPDIR. {advice}")
    elif done.returncode < 0:
        advice = f"Perhaps there is too little memory to compile in. {advice}"
    last = "\n".join(output.splitlines()[-12:])
    raise CompilerFails(
        f"the C++ compiler failed ({how}) on {source}:\n{last}\nThe command was: {shlex.join(command)}\n{advice}"
    )

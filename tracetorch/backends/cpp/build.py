"""C++ text to a loaded library: compile once, keep it in a cache that every process of the user shares."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

FLAGS = (
    ["-std=c++17", "-O3", "-fPIC", "-shared", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
)
HERE = Path(__file__).parent
HEADERS = (
    "math.h", "number.h", "loop.h", "forward.h", "backward.h", "matrix/matrix.h", "matrix/kernels.h", "matrix/lists.h"
)
ADDRESS = ctypes.c_void_p
DIGEST = 64     # hex digits of a SHA-256, appended to every library

_loaded: dict[str, ctypes.CDLL] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class CacheInfo:
    """Where compiled kernels are kept, how many there are, and the bytes they take."""

    path: Path
    kernels: int
    bytes: int


def cache_info() -> CacheInfo:
    """Return where compiled kernels are kept, how many there are, and the bytes they take."""
    path = cache_dir()
    files = list(path.glob("*.so")) + list(path.glob("*.cpp")) if path.is_dir() else []
    return CacheInfo(path, sum(f.suffix == ".so" for f in files), sum(f.stat().st_size for f in files))


def clear_cache() -> int:
    """Delete the compiled kernels that no process has to keep, and return how many."""
    before = cache_info()
    for suffix in ("*.so", "*.cpp", "*.part"):
        for file in before.path.glob(suffix):
            file.unlink(missing_ok=True)
    return before.kernels


def cache_dir() -> Path:
    """Return TRACETORCH_CACHE_DIR, or tracetorch in the user's cache directory."""
    chosen = os.environ.get("TRACETORCH_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tracetorch"


def compiler() -> list[str] | None:
    """Return the command of a C++ compiler: the CXX variable, else c++, g++ or clang++; None where there is none."""
    return _search(os.environ.get("CXX", ""), os.environ.get("PATH", ""))


@functools.cache
def _search(named: str, path: str) -> list[str] | None:
    if named:
        command = shlex.split(named)
        return command if shutil.which(command[0]) else None
    found = next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    return [found] if found else None


def load(text: str) -> ctypes.CDLL:
    """Return the library compiled from `text`, from the cache where it is there.

    Raises:
        RuntimeError: there is no compiler, or it fails (the message holds its last lines and the path of the text),
            or the library can't be written.
    """
    command = compiler()
    if command is None:
        raise RuntimeError(NO_COMPILER)
    key = _key(text, command)
    with _lock:
        if key not in _loaded:
            _loaded[key] = _open(key, text, command)
        return _loaded[key]


NO_COMPILER = "there is no C++ compiler: install g++ or clang++, or name one in the environment variable CXX"


def _key(text: str, command: list[str]) -> str:
    parts = [text, _headers(), " ".join(_flags()), _identity(tuple(command)), _processor()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@functools.cache
def _headers() -> str:
    return "\0".join((HERE / name).read_text() for name in HEADERS)


@functools.cache
def _flags() -> list[str]:
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
    # compilers older than the processor would use half of its vector registers
    return [*FLAGS, *(("-march=native", "-mprefer-vector-width=512") if x86 else ("-mcpu=native",))]


@functools.cache
def _identity(command: tuple[str, ...]) -> str:
    """The compiler's real file, its size and its time: they change with its version, and need no process."""
    path = Path(shutil.which(command[0]) or command[0]).resolve()
    info = path.stat()
    return f"{' '.join(command[1:])}\0{path}\0{info.st_size}\0{info.st_mtime_ns}"


@functools.cache
def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            wanted = ("flags", "Features", "model name", "CPU part")
            first = {line.partition(":")[0].strip(): line for line in lines if line.startswith(wanted)}
        return "".join(sorted(first.values()))
    except OSError:
        return platform.processor()


def _open(key: str, text: str, command: list[str]) -> ctypes.CDLL:
    path = cache_dir() / f"{key}.so"
    if not _trusted(path):
        try:
            path = _compile(key, text, command)
        except OSError as error:
            raise RuntimeError(
                f"the compiled kernel can't be written to {path.parent}: {error}. Make room there, name another "
                "directory in TRACETORCH_CACHE_DIR, or use backend='eager'"
            ) from error
    return ctypes.CDLL(str(path))


def _trusted(path: Path) -> bool:
    """Whether a library is ours or the administrator's, writable by nobody else, and as it was when it was written."""
    try:
        for place in (path, path.parent):
            info = place.stat()
            if info.st_uid not in (os.getuid(), 0) or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return False
        data = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(data[:-DIGEST]).hexdigest().encode() == data[-DIGEST:]


def _compile(key: str, text: str, command: list[str]) -> Path:
    folder = _writable(cache_dir())
    source, target = folder / f"{key}.cpp", folder / f"{key}.so"
    part = folder / f"{key}.{os.getpid()}.part"
    _write(source, text.encode())
    full = [*command, *_flags(), f"-I{HERE}", str(source), "-o", str(part)]
    try:
        done = subprocess.run(full, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
            raise RuntimeError(
                f"the C++ compiler failed (status {done.returncode}) on {source}:\n{last}\n"
                f"The command was: {shlex.join(full)}\nUse backend='eager' meanwhile."
            )
        data = part.read_bytes()
        _write(part, data + hashlib.sha256(data).hexdigest().encode())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _write(path: Path, data: bytes) -> None:
    """Write a file that only the user may touch, so that whoever reads it sees it whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o700)
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise


def _writable(folder: Path) -> Path:
    """The cache directory; where it can't be written or isn't the user's own, a directory for this process."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        info = folder.stat()
        private = info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if private and os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return _temporary()


@functools.cache
def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="tracetorch-"))

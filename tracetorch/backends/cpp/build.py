"""C++ text to a loaded library: compile once, keep it in a cache that every process of the user shares."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .compiler import NO_COMPILER, CompilerFails, compiler, flags, identity, processor, run

__all__ = [
    "ADDRESS", "NO_COMPILER", "CacheInfo", "CompilerFails", "cache_dir", "cache_info", "clear_cache", "compiler", "load"
]

HERE = Path(__file__).parent
HEADERS = (
    "math.h", "number.h", "loop.h", "places.h", "forward.h", "gradients.h", "backward.h",
    "feedback.h", "feedback_forward.h", "feedback_backward.h", "matrix/matrix.h", "matrix/kernels.h", "matrix/lists.h",
)
SIGNED = '\nextern "C" const char *tracetorch_name() { return "NAME"; }\n'
ADDRESS = ctypes.c_void_p
DIGEST = 64     # hex digits of a SHA-256, appended to every library

Result = TypeVar("Result")

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
    for suffix in ("*.so", "*.cpp", "*.flags", "*.part"):
        for file in before.path.glob(suffix):
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    return before.kernels


def cache_dir() -> Path:
    """Return TRACETORCH_CACHE_DIR, or tracetorch in the user's cache directory."""
    chosen = os.environ.get("TRACETORCH_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tracetorch"


def load(text: str) -> ctypes.CDLL:
    """Return the library compiled from `text`, from the cache where it is there.

    Raises:
        RuntimeError: there is no compiler, or it fails (the message holds its last lines and the path of the text),
            or the library can't be written.
    """
    command = compiler()
    if command is None:
        raise RuntimeError(NO_COMPILER)
    with _lock:
        options = _asking_the_disk(lambda: flags(command, _writable(cache_dir())))
        key = _key(text, command, options)
        if key not in _loaded:
            _loaded[key] = _open(key, text, [*command, *options])
        return _loaded[key]


def _key(text: str, command: list[str], options: Sequence[str]) -> str:
    parts = [text, SIGNED, _headers(), " ".join(options), identity(tuple(command)), processor()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@functools.cache
def _headers() -> str:
    return "\0".join((HERE / name).read_text() for name in HEADERS)


def _open(key: str, text: str, command: list[str]) -> ctypes.CDLL:
    path = cache_dir() / f"{key}.so"
    if _trusted(path):
        with contextlib.suppress(CompilerFails):
            return _asked(path, key)
    path = _asking_the_disk(lambda: _compile(key, text, command))
    try:
        return _asked(path, key)
    except CompilerFails:
        path.unlink(missing_ok=True)
        raise


def _asked(path: Path, key: str) -> ctypes.CDLL:
    """Load a library and ask it who it is."""
    try:
        library = ctypes.CDLL(str(path))
        library.tracetorch_name.restype = ctypes.c_char_p
        name = library.tracetorch_name()
    except (OSError, AttributeError) as error:
        raise CompilerFails(f"what the C++ compiler wrote can't be loaded: {error}. Name another compiler in the "
                            "environment variable CXX, or use backend='eager'") from None
    if name != key.encode():
        raise CompilerFails(f"the library {path} says that it is {name!r}: the C++ compiler built something else. Name "
                            "another in the environment variable CXX, or use backend='eager'")
    return library


def _asking_the_disk(action: Callable[[], Result]) -> Result:
    try:
        return action()
    except OSError as error:
        raise RuntimeError(
            f"the compiled kernel can't be written to {cache_dir()}: {error}. Make room there, name another "
            "directory in TRACETORCH_CACHE_DIR, or use backend='eager'"
        ) from error


def _trusted(path: Path) -> bool:
    """Whether a library is ours or the administrator's, writable by nobody else, and as it was when it was written."""
    try:
        for place in (path, path.parent):
            info = place.stat()
            if not _private(info, (_user(), 0)):
                return False
        data = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(data[:-DIGEST]).hexdigest().encode() == data[-DIGEST:]


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _private(info: os.stat_result, owners: tuple[int, ...]) -> bool:
    """Whether nobody else may write; Windows has no such numbers, and keeps a user's folder from others by itself."""
    return os.name == "nt" or (info.st_uid in owners and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _compile(key: str, text: str, command: list[str]) -> Path:
    folder = _writable(cache_dir())
    source, target = folder / f"{key}.cpp", folder / f"{key}.so"
    part = folder / f"{key}.{os.getpid()}.part"
    _write(source, (text + SIGNED.replace("NAME", key)).encode())
    try:
        run([*command, f"-iquote{HERE}", str(source), "-o", str(part)], source)
        if not part.exists():
            raise CompilerFails(f"the C++ compiler {command[0]} reports success on {source}, but wrote nothing. Name "
                                "another in the environment variable CXX, or use backend='eager'")
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
        if _private(info, (_user(),)) and os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return _temporary()


@functools.cache
def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="tracetorch-"))

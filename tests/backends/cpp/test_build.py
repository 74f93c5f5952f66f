"""Compiling and the cache: many processes, files that are broken, foreign or read-only, and compilers that fail."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tracetorch as tt
from tests.support.backends import why_not
from tracetorch.backends.cpp import build

ROOT = Path(__file__).parents[3]
TEXT = 'extern "C" int answer() {{ return {}; }}\n'
PROGRAM = """
import torch, tracetorch as tt
layer = tt.snn.LIB(3)
print(float(tt.scan(layer, torch.ones(4, 2, 3), backend="cpp").detach().sum()))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no library loaded from another."""
    path = tmp_path / "cache"
    monkeypatch.setenv("TRACETORCH_CACHE_DIR", str(path))
    monkeypatch.setattr(build, "_loaded", {})
    build._temporary.cache_clear()
    return path


def answer(number=42):
    build._loaded.clear()
    return build.load(TEXT.format(number)).answer()


def kernels(path):
    return sorted(path.glob("*.so"))


def test_compiled_once(cache):
    assert answer() == 42
    (kernel,) = kernels(cache)
    before = kernel.stat().st_mtime_ns
    assert answer() == 42
    assert kernel.stat().st_mtime_ns == before
    assert answer(43) == 43
    assert len(kernels(cache)) == 2


def test_cache_info_and_clear(cache):
    assert build.cache_info() == build.CacheInfo(cache, 0, 0)
    answer()
    info = build.cache_info()
    assert info.path == cache and info.kernels == 1 and info.bytes > 1000
    assert build.clear_cache() == 1
    assert build.cache_info().bytes == 0
    assert answer() == 42


def test_files_are_the_users_alone(cache):
    answer()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    for file in cache.iterdir():
        assert not file.stat().st_mode & 0o077


@pytest.mark.parametrize("how", ["cut short", "changed", "empty", "another digest"])
def test_broken_library_is_compiled_again(cache, how):
    answer()
    (kernel,) = kernels(cache)
    data = kernel.read_bytes()
    broken = {
        "cut short": data[: len(data) // 2],
        "changed": data[:-2000] + b"x" + data[-1999:],
        "empty": b"",
        "another digest": data[:-64] + b"0" * 64,
    }[how]
    kernel.unlink()     # a library that is mapped may not be written to
    kernel.write_bytes(broken)
    assert not build._trusted(kernel)
    assert answer() == 42
    assert kernel.read_bytes() == data


def test_library_that_others_may_write_is_not_loaded(cache):
    answer()
    (kernel,) = kernels(cache)
    kernel.chmod(0o777)
    assert not build._trusted(kernel)
    assert answer() == 42
    assert build._trusted(kernel)


def test_cache_that_others_may_write_is_not_used(cache):
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    assert answer() == 42
    assert not kernels(cache)


def test_cache_that_cannot_be_made(cache):
    cache.write_text("a file where the directory should be")
    assert answer() == 42


def test_read_only_cache_is_read(cache, monkeypatch):
    answer()
    monkeypatch.setattr(os, "access", lambda path, mode: False)     # root may write everywhere
    assert answer() == 42
    assert answer(43) == 43
    assert len(kernels(cache)) == 1


def run(**environment):
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_many_processes_at_once(cache):
    running = [run() for _ in range(4)]
    results = [p.communicate(timeout=120) for p in running]
    assert [p.returncode for p in running] == [0] * 4, results
    assert len({out for out, _ in results}) == 1
    assert len(kernels(cache)) == 2 and not list(cache.glob("*.part"))      # forward and backward


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert build.compiler() is None
    layer, x = tt.compose(tt.EMA, tt.Binary, name="NeverBuilt")(3), torch.ones(4, 2, 3)
    reason = why_not("cpp", layer, x)
    assert reason == build.NO_COMPILER and "apt-get" in reason and "conda" in reason and "variable CXX" in reason
    with pytest.raises(RuntimeError, match="there is no C"):
        answer()


def test_failing_compiler_shows_its_words_and_the_text(cache):
    message = r"(?s)the C\+\+ compiler failed \(status 1\) on .*\.cpp:\n.*error: .*nonsense"
    with pytest.raises(RuntimeError, match=message) as e:
        build.load("nonsense;\n")
    path = Path(str(e.value).partition(" on ")[2].partition(".cpp")[0] + ".cpp")
    assert path.parent == cache and path.read_text().startswith("nonsense;\n")
    assert not kernels(cache) and not list(cache.glob("*.part"))
    assert "Use backend='eager' meanwhile." in str(e.value)


def test_compiler_and_processor_are_part_of_the_name(monkeypatch):
    first = build._key("text", ["c++"], ["-O3"])
    assert first == build._key("text", ["c++"], ["-O3"]) != build._key("other", ["c++"], ["-O3"])
    assert first != build._key("text", ["c++"], ["-O2"])
    monkeypatch.setattr(build, "processor", lambda: "another")
    assert build._key("text", ["c++"], ["-O3"]) != first


def test_default_places(monkeypatch, tmp_path):
    monkeypatch.delenv("TRACETORCH_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.cache_dir() == tmp_path / "tracetorch"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert build.cache_dir() == Path.home() / ".cache" / "tracetorch"

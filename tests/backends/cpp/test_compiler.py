"""Compilers that lack an option, fail, crash, or write what is no library."""

import ctypes
import json
import os
import shutil

import pytest
import torch

import tracetorch as tt
from tracetorch.backends.cpp import build, compiler, threads

TEXT = 'extern "C" int answer() { return 42; }\n'
REAL = shutil.which("g++") or shutil.which("c++")
pytestmark = pytest.mark.skipif(REAL is None, reason="there is no C++ compiler")
FAULTS = {
    "fails": ("echo something is wrong >&2; exit 3", r"failed \(status 3\)[\s\S]*something is wrong"),
    "crashes": ("kill -SEGV $$", r"killed by signal 11"),
    "is killed": ("kill -KILL $$", r"killed by signal 9[\s\S]*too little memory"),
    "writes garbage": ("for last; do :; done; echo garbage > $last", "wrote a file that can't be loaded"),
    "writes nothing": ("exit 0", "wrote a file that can't be loaded"),
    "fills the disk": ("echo 'cc1plus: fatal error: No space left on device' >&2; exit 1", "TRACETORCH_CACHE_DIR"),
}


SALT = iter(range(10**6))


class Salted(tt.Stage):
    """A stage whose kernel no other test has built."""

    def __init__(self, number):
        self.number = number

    def step(self, s):
        s.shift = s.shift + 1e-9 * self.number


def unbuilt():
    number = next(SALT)
    return tt.compose(Salted(number), tt.Binary, name=f"Salted{number}")(4), torch.rand(6, 2, 4)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACETORCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_loaded", {})
    compiler._flags.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A function that makes the compiler a shell script."""

    def make(text):
        path = tmp_path / "cxx"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        compiler.identity.cache_clear()
        return [str(path)]

    return make


def without(*words):
    """A script of a compiler that knows all options but these."""
    cases = "".join(f'[ "$word" = "{word}" ] && {{ echo "unknown option {word}" >&2; exit 1; }}\n' for word in words)
    return f'for word; do\n{cases}:\ndone\nexec {REAL} "$@"'


@pytest.mark.parametrize("missing", [
    ("-fopenmp",), ("-march=native",), ("-mprefer-vector-width=512",), ("-fno-trapping-math", "-fno-math-errno"),
    ("-fopenmp", "-fopenmp-simd", "-march=native", "-mcpu=native", "-mprefer-vector-width=512"),
], ids=" ".join)
def test_an_option_that_is_not_known_is_left_out(fake, cache, missing):
    command = fake(without(*missing))
    layer, x = unbuilt()
    y = tt.scan(layer, x, backend="cpp")
    layer.zero_states()
    torch.testing.assert_close(y, tt.scan(layer, x, backend="eager"))
    found = compiler.flags(command, cache)
    assert not set(missing) & set(found) and set(compiler.NEEDED) <= set(found)
    known = {ways[0] for ways in compiler.OPTIONS if not set(missing) & set(ways[0])}
    assert {word for way in known for word in way} <= set(found), "nothing else is left out"


def test_what_a_compiler_can_do_is_found_out_once(fake, cache, tmp_path):
    log = tmp_path / "log"
    command = fake(f'echo call >> {log}; exec {REAL} "$@"')
    assert build.load(TEXT).answer() == 42
    first = len(log.read_text().split())
    compiler._flags.cache_clear()           # as another process
    assert build.load(TEXT.replace("42", "43")).answer() == 43
    assert (first, len(log.read_text().split())) == (2, 3)
    (note,) = cache.glob("*.flags")
    note.write_text(json.dumps(["-fplugin=evil.so"]))
    compiler._flags.cache_clear()
    assert "-fplugin=evil.so" not in compiler.flags(command, cache)


@pytest.mark.parametrize(("script", "words"), FAULTS.values(), ids=FAULTS)
def test_a_compiler_that_does_not_work(fake, script, words):
    fake(script)
    layer, x = unbuilt()
    with pytest.raises(RuntimeError, match=words):
        tt.scan(layer, x, backend="cpp")
    with pytest.warns(UserWarning, match=words) as caught:
        y = tt.scan(layer, x)
        tt.scan(layer, x)
    assert len(caught) == 1
    layer.zero_states()
    assert torch.equal(y, tt.scan(layer, x, backend="eager"))


def test_a_compiler_that_cannot_be_started(fake):
    fake("")
    with open(os.environ["CXX"], "w") as file:
        file.write("#!/no/such/interpreter\n")
    with pytest.raises(RuntimeError, match="can't be started"):
        build.load(TEXT)


def test_the_compiler_fails_at_the_kernel_backward(fake):
    fake(f'for word; do case "$word" in *.cpp) if grep -q backward "$word"; then echo too much >&2; exit 4; fi;; esac; '
         f'done\nexec {REAL} "$@"')
    layer, x = unbuilt()
    with torch.no_grad():
        tt.scan(layer, x, backend="cpp")
    words = r"there is no kernel for its backward pass[\s\S]*failed \(status 4\)[\s\S]*too much"
    for _ in range(2):
        with pytest.raises(RuntimeError, match=words + r"[\s\S]*'eager'"):
            tt.scan(layer, x.requires_grad_(), backend="cpp")
    layer.zero_states()
    with pytest.warns(UserWarning, match=words) as caught:
        got = torch.autograd.grad(tt.scan(layer, x).sum(), [x, *layer.parameters()])
        layer.zero_states()
        tt.scan(layer, x)
    assert len(caught) == 1
    layer.zero_states()
    want = torch.autograd.grad(tt.scan(layer, x, backend="eager").sum(), [x, *layer.parameters()])
    assert all(map(torch.equal, got, want))


def test_a_compiler_builds_something_else(fake, cache):
    other = TEXT + 'extern "C" const char *tracetorch_name() { return "another"; }'
    (cache.parent / "other.cpp").write_text(other)
    fake(f'for word; do case "$word" in *probe.cpp) exec {REAL} "$@";; esac; done\n'
         f'for last; do :; done; exec {REAL} -shared -fPIC {cache.parent}/other.cpp -o "$last"')
    with pytest.raises(RuntimeError, match="says that it is b'another'"):
        build.load(TEXT)
    assert not list(cache.glob("*.so")), "what isn't trusted does not stay"


def test_a_system_without_user_numbers_or_proc(monkeypatch, cache):
    """As on Windows and macOS: the same kernels are built and found again."""
    monkeypatch.setattr(compiler, "open", lambda *args: (_ for _ in ()).throw(FileNotFoundError()), raising=False)
    compiler.processor.cache_clear()
    monkeypatch.delattr(os, "getuid")
    try:
        assert build.load(TEXT).answer() == 42
        assert os.uname().nodename in compiler.processor(), "another machine of the same home builds its own"
    finally:
        compiler.processor.cache_clear()


def test_permissions_are_not_read_on_windows(monkeypatch, tmp_path):
    info = os.stat_result((0o777, 1, 1, 1, 99, 0, 0, 0, 0, 0))
    assert not build._private(info, (0,))
    monkeypatch.setattr(build.os, "name", "nt")
    assert build._private(info, (0,))


def test_macos_links_its_own_openmp(fake, cache):
    """Apple's clang rejects -fopenmp and takes it through the preprocessor, with libomp."""
    command = fake('case "$*" in *"-Xpreprocessor -fopenmp -lomp"*) ;; *-fopenmp-simd*) ;; *-fopenmp*) exit 1;; esac\n'
                   f'for word; do shift; case "$word" in -Xpreprocessor|-lomp|-fopenmp) ;; *) set -- "$@" "$word";; '
                   f'esac; done\nexec {REAL} "$@"')
    assert compiler.flags(command, _made(cache))[-3:] == ("-Xpreprocessor", "-fopenmp", "-lomp")
    assert isinstance(build.load(TEXT), ctypes.CDLL)


def _made(path):
    path.mkdir(mode=0o700)
    return path


def test_windows_asks_for_a_static_runtime(fake, cache, monkeypatch):
    """MinGW's own libraries are then inside of ours; a compiler that can't leaves it out."""
    assert compiler.wanted() == compiler.OPTIONS
    monkeypatch.setattr(compiler.os, "name", "nt")
    windows = compiler.wanted()
    monkeypatch.undo()
    takes = f'for word; do shift; [ "$word" = -static ] || set -- "$@" "$word"; done\nexec {REAL} "$@"'
    for script, kept in ((takes, True), (without("-static"), False)):
        command = fake(script)
        found = compiler._try(tuple(command), windows, _made(cache) if kept else cache)
        assert ("-static" in found) == kept and set(compiler.NEEDED) < set(found)


def test_a_system_that_does_not_fork(monkeypatch):
    watched = []
    monkeypatch.setattr(os, "register_at_fork", lambda **given: watched.append(given))
    threads._watch_forks()
    assert watched == [{"after_in_child": threads._after_fork}]
    monkeypatch.delattr(os, "register_at_fork")
    threads._watch_forks()
    assert len(watched) == 1


def test_system_headers_are_the_systems(cache):
    """libc++ includes <math.h>, and a file of ours has that name."""
    text = '#include <math.h>\n#ifdef INLINE\n#error ours\n#endif\n' + TEXT
    assert build.load(text).answer() == 42


@pytest.mark.parametrize("installed", [True, False])
def test_a_compiler_from_a_package_is_found_last(installed, monkeypatch, tmp_path):
    folder = tmp_path / ("ziglang" if installed else "another")
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    zig = folder / "zig"
    zig.write_text("")
    zig.chmod(0o755)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert compiler._search("", os.environ["PATH"]) != [str(zig), "c++"]
    monkeypatch.setenv("PATH", str(tmp_path))
    compiler._search.cache_clear()
    found = compiler.compiler()
    compiler._search.cache_clear()
    assert found == ([str(zig), "c++"] if installed else None)

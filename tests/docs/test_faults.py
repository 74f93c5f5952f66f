"""One test per row of the fault table in docs/faults.md."""

import os
import pathlib
import pickle
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import torch
from torch import nn

import tracetorch as tt
from tracetorch import backends
from tracetorch.backends.cpp import build

from .pages import ROOT

HARD = tt.functional.round_ste()
SALT = iter(range(10**6))


def poisoned(backend, cls, value, **kwargs):
    """Outputs and state with and without `value` at step 3 in neuron 1 of element 0, and which cells it may touch."""
    x = torch.rand(8, 2, 4) * 2
    runs = []
    for now in (0.0, value):
        x[3, 0, 1] = now
        layer = cls(4, **(kwargs or {"quant_fn": HARD}))
        runs.append(tt.scan(layer, x, backend=backend))
    touched = torch.zeros(8, 2, 4, dtype=torch.bool)
    touched[3:, 0, 1] = True
    assert torch.equal(runs[0][~touched], runs[1][~touched])
    return runs, layer.save_states()


@pytest.mark.parametrize("cls", [tt.snn.LIB, tt.snn.SRLIT], ids=["LIB", "SRLIT"])
def test_nan_in_the_input(backend, cls):
    (_, y), states = poisoned(backend, cls, float("nan"))
    assert y[3:, 0, 1].isnan().all() and states["mem"][0, 1].isnan()


def test_nan_in_the_input_of_a_neuron_with_a_surrogate(backend):
    (_, y), states = poisoned(backend, tt.snn.LIB, float("nan"), spike_fn=tt.functional.heavi_erfc(1.0))
    assert (y[3:, 0, 1] == 0).all() and states["mem"][0, 1].isnan()


def test_nan_in_the_input_of_a_dual_neuron(backend):
    (clean, y), _ = poisoned(backend, tt.snn.DSRLITS, float("nan"))
    assert torch.equal(y, clean)


@pytest.mark.parametrize(("value", "spike"), [(float("inf"), 1.0), (float("-inf"), 0.0)])
def test_infinity_in_the_input(backend, value, spike):
    (_, y), states = poisoned(backend, tt.snn.LIB, value)
    assert (y[3:, 0, 1] == spike).all() and states["mem"][0, 1] == value


def test_a_very_long_sequence(backend):
    steps = 5_000 if backend == "eager" else 1_000_000
    layer = tt.snn.LI(1)
    with torch.no_grad():
        y = tt.scan(layer, torch.ones(steps, 1), backend=backend)
    torch.testing.assert_close(y[-1], torch.full((1,), 10.0))
    assert torch.isfinite(y).all()


def test_a_batch_of_another_size(backend):
    layer = tt.snn.LIB(4)
    tt.scan(layer, torch.rand(3, 8, 4), backend=backend)
    with pytest.raises(ValueError, match=r"state 'mem' holds shape \[8, 4\].*\[5, 4\].*zero_states\(\)"):
        tt.scan(layer, torch.rand(3, 5, 4), backend=backend)


def test_a_batch_of_size_0(backend):
    layer = tt.snn.SRLIB(4)
    x = torch.rand(3, 0, 4, requires_grad=True)
    y = tt.scan(layer, x, backend=backend)
    y.sum().backward()
    assert y.shape == x.grad.shape == (3, 0, 4) and layer.mem.shape == (0, 4)
    assert all((p.grad == 0).all() for p in layer.parameters())


def test_time_of_length_0(backend):
    with pytest.raises(ValueError, match="time has length 0"):
        tt.scan(tt.snn.LIB(4), torch.rand(0, 2, 4), backend=backend)


def test_whole_numbers_as_input(backend):
    with pytest.raises(TypeError, match=r"must be floating-point.*x\.float\(\)"):
        tt.scan(tt.snn.LIB(4), torch.ones(3, 4, dtype=torch.int64), backend=backend)


def test_input_on_another_device_than_the_states(backend):
    layer = tt.snn.LIB(4)
    tt.scan(layer, torch.rand(3, 4), backend=backend)
    with pytest.raises(ValueError, match=r"'mem' is on cpu, the input on meta.*zero_states\(\)"):
        tt.scan(layer, torch.rand(3, 4, device="meta"))


class Fails(nn.Module):
    error: BaseException | None = None

    def forward(self, x):
        if self.error is not None:
            raise self.error
        return x


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
@pytest.mark.parametrize("fold", [True, False], ids=["fold", "step"])
def test_an_error_in_the_middle_of_a_scan(backend, error, fold):
    model = nn.Sequential(tt.snn.LIB(4), tt.snn.SLIB(4), Fails())
    x = torch.rand(3, 2, 4)
    tt.scan(model, x, backend=backend)
    before = tt.save_states(model)
    model[2].error = error
    with pytest.raises(type(error)):
        tt.scan(model, x, backend=backend, fold=fold)
    after = tt.save_states(model)
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)


def test_states_of_another_model(backend):
    model, other = nn.Sequential(tt.snn.LIB(4), tt.snn.LIB(4)), nn.Sequential(tt.snn.LIB(4), tt.snn.SLIB(3))
    x = torch.rand(3, 2, 4)
    tt.scan(model, x, backend=backend)
    before = tt.save_states(model)
    states = {"0.mem": torch.zeros(2, 4), "1.syn": torch.zeros(2, 3), "1.mem": torch.zeros(2, 3)}
    with pytest.raises(ValueError, match=r"unknown 1\.syn; 1\.mem has shape \[2, 3\].*Nothing was loaded"):
        tt.load_states(model, states)
    assert all(torch.equal(before[k], v) for k, v in tt.save_states(model).items()), other


SLOPES = {"k": 1.0}


def test_a_number_changes_that_a_spike_function_reads(backend):
    layer, x = tt.snn.LIB(4, spike_fn=lambda v: torch.tanh(SLOPES["k"] * v)), torch.rand(8, 2, 4)
    found = []
    for SLOPES["k"] in (1.0, 3.0):
        layer.zero_states()
        found.append(tt.scan(layer, x, backend=backend))
        layer.zero_states()
        torch.testing.assert_close(found[-1], tt.scan(layer, x, backend="eager"))
    assert not torch.equal(*found)


def test_a_spike_function_reads_what_cannot_be_understood():
    now = time.monotonic
    layer = tt.snn.LIB(4, spike_fn=lambda v: v * (now() > 0))
    with pytest.warns(UserWarning, match="what monotonic.. gives or does is not known") as caught:
        tt.scan(layer, torch.rand(3, 2, 4))
        tt.scan(layer, torch.rand(3, 2, 4))
    assert len(caught) == 1
    with pytest.raises(RuntimeError, match="spike_fn: `now` of its closure"):
        tt.scan(layer, torch.rand(3, 2, 4), backend="cpp")


@pytest.mark.filterwarnings("ignore:.*has hooks")
def test_a_hook_on_spike_fn():
    layer = tt.snn.LIB(4, spike_fn=nn.Tanh())
    tt.scan(layer, torch.rand(3, 2, 4))
    layer.spike_fn.register_forward_hook(lambda module, args, out: 0 * out)
    layer.zero_states()
    assert tt.scan(layer, torch.rand(3, 2, 4)).abs().max() == 0


@pytest.mark.parametrize("fn", [lambda v: v / v.shape[-1], lambda v: ((v > 0).int() & 1) * v],
                         ids=["shape", "integers"])
def test_a_step_asks_for_a_shape_or_computes_with_integers(fn):
    layer, x = tt.snn.LIB(4, spike_fn=fn), torch.rand(3, 2, 4)
    with pytest.warns(UserWarning, match=r"step by step in Python: stage Binary, line \d+ of test_faults"):
        y = tt.scan(layer, x)
    layer.zero_states()
    assert torch.equal(y, tt.scan(layer, x, backend="eager"))


def test_an_input_that_is_lazily_negated(backend):
    lazy = torch.complex(torch.rand(3, 2, 4), torch.rand(3, 2, 4)).conj().imag
    y, want = (tt.scan(tt.snn.LIB(4), x, backend=backend) for x in (lazy, lazy.clone().resolve_neg()))
    assert lazy.is_neg() and torch.equal(y, want)


@pytest.mark.filterwarnings("ignore:.*changes what it is made of")
def test_a_spike_function_that_counts_its_calls():
    calls = [0]

    def fire(v):
        calls[0] += 1
        return torch.tanh(v)
    tt.scan(tt.snn.LIB(4, spike_fn=fire), torch.rand(5, 2, 4))
    assert calls == [5]


class Salted(tt.Stage):
    """A stage whose number makes a kernel that no test has built yet."""

    def __init__(self, number=0):
        self.number = number

    def step(self, s):
        s.shift = s.shift + 1e-9 * self.number


def unbuilt():
    """A layer whose kernel is not in any cache of this process, and an input."""
    number = next(SALT) + 1000 * os.getpid()
    return tt.compose(Salted(number), tt.Binary, name=f"Salted{number}")(4), torch.rand(6, 2, 4)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty kernel cache."""
    if build.compiler() is None:
        pytest.skip("there is no C++ compiler")
    monkeypatch.setenv("TRACETORCH_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def scans_as_eager(layer, x):
    layer.zero_states()
    with torch.no_grad():
        y = tt.scan(layer, x, backend="cpp")
        layer.zero_states()
        torch.testing.assert_close(y, tt.scan(layer, x, backend="eager"))


TEXT = 'extern "C" int answer() { return 42; }\n'


def answer():
    """Build and load a small library as any process would."""
    build._loaded.clear()
    return build.load(TEXT).answer()


def test_no_cpp_compiler(monkeypatch, tmp_path):
    layer, x = unbuilt()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setitem(backends.FUSED, "cpu", "cpp")
    with pytest.warns(UserWarning, match=r"step by step in Python: there is no C\+\+ compiler"):
        y = tt.scan(layer, x)
    layer.zero_states()
    assert torch.equal(y, tt.scan(layer, x, backend="eager"))
    with pytest.raises(RuntimeError, match=r"backend='cpp' can't run .*no C\+\+ compiler: install g\+\+"):
        tt.scan(layer, x, backend="cpp")


def test_the_compiler_fails(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(script(tmp_path / "broken", "echo something is wrong >&2; exit 3")))
    with pytest.raises(RuntimeError, match=r"failed \(status 3\) on (.|\n)*something is wrong(.|\n)*backend='eager'"):
        tt.scan(*unbuilt(), backend="cpp")


def script(path, text):
    """Write an executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def elsewhere(code, cache, **kwargs):
    """Start Python code in another process with the same kernel cache."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TRACETORCH_CACHE_DIR": str(cache)}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **kwargs)


BUILD = f"""
    import sys, types
    package = sys.modules["cpp"] = types.ModuleType("cpp")      # without importing torch
    package.__path__ = [{os.path.dirname(build.__file__)!r}]
    from cpp import build
    print(build.load({TEXT!r}).answer())
"""


def test_the_disk_is_full(cache):
    """No file may grow beyond ten bytes, which is how a full disk looks to whoever writes."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n" + textwrap.dedent(BUILD)
    process = elsewhere(code, cache)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: ") and str(cache) in last and "TRACETORCH_CACHE_DIR" in last
    assert not list(cache.iterdir()), "nothing is left over"
    assert answer() == 42


def test_the_cache_directory_cannot_be_made(cache, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("TRACETORCH_CACHE_DIR", str(tmp_path / "file" / "cache"))
    scans_as_eager(*unbuilt())


def test_a_build_is_killed_half_way(cache, monkeypatch, tmp_path):
    slow = tmp_path / "slow"
    wrapper = script(tmp_path / "cxx", f'if [ -e "{slow}" ]; then echo half > "{tmp_path}/begun"; '
                     f'for last; do :; done; echo half > "$last"; sleep 60; fi\nexec c++ "$@"')
    monkeypatch.setenv("CXX", str(wrapper))
    slow.touch()
    process = elsewhere(BUILD, cache, start_new_session=True)
    wait_for(tmp_path / "begun")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    slow.unlink()
    assert not list(cache.glob("*.so"))
    assert answer() == 42


def wait_for(path, seconds=60):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} has not appeared"
        time.sleep(0.02)


def kernel_file(cache):
    (path,) = cache.glob("*.so")
    return path


DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "one byte": lambda data: data[:999] + b"?" + data[1000:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_file_in_the_cache_is_damaged(cache, damage):
    assert answer() == 42
    path = kernel_file(cache)
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(damage(whole))
    assert answer() == 42
    assert len(kernel_file(cache).read_bytes()) == len(whole)


def test_a_file_in_the_cache_may_be_written_by_others(cache):
    assert answer() == 42
    path = kernel_file(cache)
    path.chmod(0o777)
    assert answer() == 42
    assert not kernel_file(cache).stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def test_two_processes_build_the_same_kernel(cache):
    both = [elsewhere(BUILD, cache) for _ in range(2)]
    assert [process.communicate(timeout=60) for process in both] == [("42\n", "")] * 2
    assert len(list(cache.iterdir())) == 3, "source, library, what the compiler can do; nothing left over"


def test_two_threads_build_the_same_kernel(cache):
    found = []
    layer, x = unbuilt()

    def scan(one):
        found.append(tt.scan(one, x, backend="cpp"))

    threads = [threading.Thread(target=scan, args=[one]) for one in (layer, type(layer)(4))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(*found)


def test_a_process_forked_after_a_scan(cache):
    process = elsewhere("""
        import os, signal, torch, tracetorch as tt
        torch.set_num_threads(2)
        layer, x = tt.snn.LIB(512), torch.rand(10, 64, 512)
        with torch.no_grad():
            y = tt.scan(layer, x, backend="cpp")
            layer.zero_states()
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                torch.set_num_threads(1)
                os._exit(0 if torch.equal(tt.scan(layer, x, backend="cpp"), y) else 1)
        print(os.waitpid(child, 0)[1])
    """, cache)
    assert process.communicate(timeout=60)[0] == "0\n"


def test_a_layer_of_stages_that_cannot_be_imported(tmp_path):
    module = tmp_path / "gone_stages.py"
    module.write_text(pathlib.Path(ROOT / "docs" / "examples" / "exponential.py").read_text())
    sys.path.insert(0, str(tmp_path))
    try:
        import gone_stages
        layer = gone_stages.ExponentialLIF(2, quant_fn=HARD)
        data, values = pickle.dumps(layer), layer.state_dict()
        assert type(pickle.loads(data)) is gone_stages.ExponentialLIF
    finally:
        sys.path.remove(str(tmp_path))
    del sys.modules["gone_stages"]
    with pytest.raises(ModuleNotFoundError, match="gone_stages"):
        pickle.loads(data)
    assert set(values) == {"raw_beta", "raw_knee", "raw_sharpness", "raw_threshold", "raw_bias"}

"""The worked examples: what their pages show is what they print, and they compute what mathematics says."""

import importlib.util
import os
import runpy
import subprocess
import sys

import pytest
import torch

import tracetorch as tt

from ..conftest import BACKENDS
from .pages import ROOT, run

EXAMPLES = ROOT / "docs" / "examples"
HARD = tt.functional.round_ste()


@pytest.fixture(params=[*BACKENDS, pytest.param("triton", marks=pytest.mark.triton)])
def backend(request):
    """Every backend."""
    return request.param


def example(name):
    """Import docs/examples/NAME.py once; its classes pickle by that module."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def output(name, *launcher):
    """What a script prints in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, *launcher, str(EXAMPLES / f"{name}.py")], env=env, capture_output=True,
                         text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


@pytest.mark.parametrize("name", ["resonate_and_fire", "exponential"])
def test_page_shows_what_the_example_prints(name, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out.strip()
    assert printed and printed in (ROOT / "docs" / f"{name}.md").read_text()


def test_resonator_turns_like_a_complex_number(backend):
    layer = example("resonate_and_fire").Resonate(3, damping=0.9, omega=0.7, dtype=torch.float64)
    x = torch.randn(30, 2, 3, dtype=torch.float64)
    z, turn = torch.zeros(2, 3, dtype=torch.complex128), torch.polar(*torch.tensor([0.9, 0.7], dtype=torch.float64))
    with tt.backend(backend):
        y = tt.scan(layer, x)
    for x_t, y_t in zip(x, y, strict=True):
        z = turn * z + x_t
        torch.testing.assert_close(y_t, z.imag)


def test_dual_resonator_is_one_for_each_sign(backend):
    demo = example("resonate_and_fire")
    x = torch.randn(30, 2, 3, dtype=torch.float64)
    dual, one = demo.DualResonate(3, dtype=torch.float64), demo.Resonate(3, dtype=torch.float64)
    with tt.backend(backend):
        both = tt.scan(dual, x)
        parts = [tt.scan(one, x.clamp(min=0))]
        one.zero_states()
        parts.append(tt.scan(one, x.clamp(max=0)))
    torch.testing.assert_close(both, parts[0] + parts[1])


@pytest.mark.parametrize(("gap", "spikes"), [(6, 0), (13, 1)])
def test_resonator_fires_in_rhythm_only(backend, gap, spikes):
    demo = example("resonate_and_fire")
    layer = demo.ResonateAndFire(1, threshold=0.9, quant_fn=HARD)
    with tt.backend(backend):
        assert tt.scan(layer, demo.two_pulses(gap)).sum() == spikes


def test_exponential_membrane_by_hand(backend):
    layer = example("exponential").ExponentialLIF(2, quant_fn=HARD, dtype=torch.float64)
    x = torch.rand(60, 2, dtype=torch.float64) * 0.5
    with tt.backend(backend):
        y = tt.scan(layer, x)
    mem, total = torch.zeros(2, dtype=torch.float64), 0
    for x_t, y_t in zip(x, y, strict=True):
        mem = 0.9 * mem + 0.1 * 0.2 * torch.exp(((mem - 0.8) / 0.2).clamp(max=5)) + x_t
        spike = (mem > 2).double()
        mem = torch.where(spike > 0, 0.0, mem)
        assert torch.equal(y_t, spike)
        total += spike.sum()
    assert total >= 4
    torch.testing.assert_close(layer.mem, mem)


def test_exponential_membrane_stands_a_huge_input(backend):
    layer = example("exponential").ExponentialLIF(1, quant_fn=HARD)
    x = torch.full((5, 1), 1e6, requires_grad=True)
    with tt.backend(backend):
        tt.scan(layer, x).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(("module", "name"), [
    ("resonate_and_fire", "Resonate"), ("resonate_and_fire", "ResonateAndFire"),
    ("resonate_and_fire", "DualResonate"), ("exponential", "ExponentialLIF"),
])
def test_gradients_agree_with_eager(backend, module, name):
    cls = getattr(example(module), name)
    fires = cls.pipeline.fires
    kwargs = {"spike_fn": tt.functional.heavi_erfc(1.0)} if fires else {}
    layer = cls(3, dtype=torch.float64, **kwargs)
    x = torch.rand(25, 2, 3, dtype=torch.float64, requires_grad=True)
    got = []
    for name in ("eager", backend):
        layer.zero_states()
        with tt.backend(name):
            y = tt.scan(layer, x)
        got.append([y, *torch.autograd.grad((y * y).sum() + y.sum(), [x, *layer.parameters()])])
    for reference, fused in zip(*got, strict=True):
        torch.testing.assert_close(fused, reference, rtol=1e-9, atol=1e-12)


def test_data_parallel_on_two_processes():
    out = output("data_parallel", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    before, after = (float(v) for v in out.split("loss ")[1].split(" -> "))
    assert out.startswith("2 processes") and after < before


def test_lightning_checkpoints_keep_states():
    class Module(run(ROOT / "docs" / "lightning.md")["KeepsStates"], torch.nn.Sequential):
        pass

    model, other, checkpoint = Module(tt.snn.LIB(3)), Module(tt.snn.LIB(3)), {}
    other.on_load_checkpoint({"states": tt.save_states(model)})
    assert other[0].mem is None
    model(torch.rand(2, 3))
    model.on_save_checkpoint(checkpoint)
    other.on_load_checkpoint(checkpoint)
    assert torch.equal(other[0].mem, model[0].mem)


def test_lightning_trains():
    pytest.importorskip("lightning", reason="PyTorch Lightning is not installed (extra: dev)")
    share = output("lightning_classifier").split("% right after 8 epochs")[0].split()[-1]
    assert int(share) >= 75

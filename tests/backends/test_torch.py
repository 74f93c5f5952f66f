"""The C++ scan inside torch's machinery: operators, torch.compile, second derivatives, processes, autocast."""

import os
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import tracetorch as tt
from tests.support.backends import scan
from tests.support.callables import Slope
from tests.support.compositions import assert_close
from tests.support.parallel import check_two_processes_have_the_gradients_of_one
from tests.support.rounding import check_rounds_as_eager, output
from tracetorch.backends import differentiable


@pytest.fixture(autouse=True)
def _on():
    with tt.backend("cpp"):
        yield
    torch._dynamo.reset()


def operator_inputs(record=(), given=True, **options):
    layer = tt.snn.SLIB(4, bias_rank=0, **options)
    step, params = layer.bound_step(), {k: p.detach().requires_grad_() for k, p in layer.constrained().items()}
    key, reason, draws, order = differentiable.enter(
        step.pipeline, (0, False), step.spike_fn, step.quant_fn, step.name, "cpp", torch.float32, torch.float32,
        tuple(p.ndim for p in params.values()), record)
    assert reason is None and not draws and order == tuple(range(len(params)))
    KEPT.append(layer)      # a step that nobody holds is forgotten
    x = torch.randn(23, 2, 4).requires_grad_()
    starts = [torch.randn(2, 4).requires_grad_() for _ in step.pipeline.states] if given else []
    return x, starts, list(params.values()), None, key, 1, True


KEPT = []


@pytest.mark.parametrize("record", [(), ("potential",)], ids=["plain", "record"])
@pytest.mark.parametrize("given", [True, False], ids=["start states", "fresh"])
def test_opcheck(record, given):
    torch.library.opcheck(differentiable.scan, operator_inputs(record, given))


def test_opcheck_backward():
    x, starts, params, rng, key, dim, _ = operator_inputs()
    _, *finals, kept = differentiable.scan(x, starts, params, rng, key, dim, True)
    tensors = [t.detach() for t in (x, *starts, *params)]
    cotangents = [torch.randn_like(x), *(torch.randn_like(f) for f in finals)]
    needs = True, True, [True] * len(params)
    inputs = (tensors[0], tensors[1:3], tensors[3:], rng, kept.detach(), cotangents, key, dim, *needs)
    torch.library.opcheck(differentiable.scan_backward, inputs, test_utils=("test_schema", "test_faketensor"))


def test_operator_is_the_function():
    x, starts, params, *_ = parts = operator_inputs(("potential",))
    step = replace(KEPT[-1].bound_step(), activations={})
    states, named = (dict(zip(names, tensors, strict=True)) for names, tensors in (
        (step.pipeline.states, starts), (step.pipeline.parameters, params)))
    y, new, recordings = scan("cpp", step, x, states, named, record=("potential",))
    results = [[y, *new.values(), *recordings.values()], differentiable.scan(*parts)[:-1]]
    grads = [torch.autograd.grad(sum((v * v).sum() for v in r), [x, *starts, *params]) for r in results]
    assert_close(results[1], results[0], error=0)
    assert_close(grads[1], grads[0], error=0)


def test_a_step_of_a_graph_is_forgotten_with_its_callable():
    before = len(differentiable._entries)
    for _ in range(20):
        operator_inputs(spike_fn=nn.Tanh())
    assert len(differentiable._entries) == before + 20
    KEPT.clear()
    assert len(differentiable._entries) <= before


def test_compiled_model_at_changed_sizes_is_compiled_three_times():
    """A whole model in one graph; T, then B, become variables, and after that nothing is compiled again."""
    model = nn.Sequential(nn.Linear(5, 6), tt.snn.SLIB(6, spike_fn=Slope()), nn.Linear(6, 3), tt.snn.LI(3))
    compilations = []

    def compiler(graph, inputs):
        compilations.append([n.target for n in graph.graph.nodes])
        return graph

    compiled = torch.compile(lambda x: tt.scan(model, x), fullgraph=True, backend=compiler)
    for shape in ((12, 2, 5), (13, 2, 5), (14, 4, 5), (32, 7, 5), (101, 3, 5), (55, 9, 5)):
        x = torch.randn(shape)
        check_rounds_as_eager(model, compiled, x)
    assert len(compilations) == 3
    assert compilations[0].count(torch.ops.tracetorch.scan.default) == 2

    model[1].spike_fn.gain = 3.0
    check_rounds_as_eager(model, compiled, x)


def test_compiled_by_inductor():
    model = nn.Sequential(nn.Linear(5, 6), tt.snn.LIB(6))
    compiled = torch.compile(lambda x: tt.scan(model, x), fullgraph=True)
    x = torch.randn(12, 2, 5)
    check_rounds_as_eager(model, compiled, x)
    check_rounds_as_eager(model, compiled, x, output)


def test_compiled_draws():
    layer = tt.snn.LIB(6, spike_fn=tt.functional.Logistic(2.0))
    compiled = torch.compile(lambda x: tt.scan(layer, x), fullgraph=True, backend="aot_eager")
    x = torch.randn(12, 2, 6)
    tt.scan(layer, x[:1])
    rng = layer.rng
    results = []
    for run in (compiled, lambda v: tt.scan(layer, v)):
        layer.zero_states()
        layer.rng = rng
        results.append(run(x))
    assert torch.equal(*results)
    assert int(layer.rng[1]) == int(rng[1]) + 12


def test_second_derivative_names_eager():
    layer = tt.snn.LIB(3)
    x = torch.randn(4, 2, 3, requires_grad=True)
    (g,) = torch.autograd.grad(tt.scan(layer, x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r'LIB: a fused scan can be differentiated once; .* tt.backend\("eager"\)'):
        g.sum().backward()
    layer.zero_states()
    with tt.backend("eager"):
        (g,) = torch.autograd.grad(tt.scan(layer, x).square().sum(), x, create_graph=True)
        assert torch.autograd.grad(g.sum(), x)[0].abs().sum() > 0


def test_forward_mode_names_eager():
    layer = tt.snn.LIB(3)
    x, tangent = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    run = lambda v: (layer.zero_states(), tt.scan(layer, v))[1]  # noqa: E731
    with torch.no_grad():
        with pytest.raises(RuntimeError, match=r"has no vmap, no forward-mode and no torch\.func derivatives.*'eager'"):
            torch.func.jvp(run, (x,), (tangent,))
        with tt.backend("eager"):
            torch.func.jvp(run, (x,), (tangent,))
    with tt.backend("eager"):
        assert torch.autograd.gradcheck(run, x.double().requires_grad_(), check_forward_ad=True)


def test_autocast():
    layer = tt.snn.LIB(3)
    linear = nn.Linear(3, 3)
    x = torch.randn(4, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y = tt.scan(nn.Sequential(linear, layer), x)
    assert y.dtype == torch.bfloat16 and layer.mem.dtype == torch.float32


def test_input_changed_before_backward_is_noticed():
    x = torch.randn(4, 2, 3, requires_grad=True)
    inside = x * 1
    y = tt.scan(tt.snn.LIB(3), inside)
    inside.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


class Scanned(torch.utils.data.Dataset):
    """Each item is computed by a scan, in the worker."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        with tt.backend("cpp"), torch.no_grad():
            return tt.scan(tt.snn.LIB(600), torch.full((40, 4, 600), float(i)))


def test_workers_do_not_hang():
    here = [Scanned()[i] for i in range(4)]      # starts OpenMP's threads in this process
    there = list(DataLoader(Scanned(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60))
    assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_fork_does_not_hang():
    """The child does nothing in parallel but the scan: torch's own operators would hang."""
    layer, x = tt.snn.LIB(600), torch.ones(40, 4, 600)
    with torch.no_grad():
        want = tt.scan(layer, x)[-1, 0, 0].item()
        layer.zero_states()
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, str(tt.scan(layer, x)[-1, 0, 0].item()).encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        assert float(file.read()) == want
    os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("make", [lambda: tt.Feedback(tt.snn.LIB(600), nn.Linear(600, 600)),
                                  lambda: tt.Linear(600, 600)],
                         ids=["Feedback", "Linear"])
def test_packing_a_matrix_after_a_fork_does_not_hang(make):
    """A matrix of this size is read and packed by several threads, which the child does not have."""
    layer, x = make().requires_grad_(False), torch.ones(40, 4, 600)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    want = tt.scan(layer, x)[-1, 0, 0].item()
    tt.zero_states(layer)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(30)        # ends a child that waits for ever
        os.write(write, str(tt.scan(layer, x)[-1, 0, 0].item()).encode())
        os._exit(0)
    torch.set_num_threads(threads)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as file:
        assert file.read() == str(want)


def test_two_processes_have_the_gradients_of_one(tmp_path):
    check_two_processes_have_the_gradients_of_one(tmp_path / "group", "cpp", "cpu")

"""Scans on a GPU: the recorded numbers, eager's numbers, and the ways of torch that only a device shows."""

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import EXTREMES, Composition, assert_close, gradients, inputs, name_of, outcome
from tests.support.golden import CASES, arrays, assert_recorded, case_id, loaded
from tests.support.parallel import check_two_processes_have_the_gradients_of_one
from tests.support.rounding import assert_as_right, check_rounds_as_eager, output
from tracetorch import functional as F

pytestmark = pytest.mark.gpu
RECORDED_TO = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Wider than on the CPU, where what the record is missed by was measured; on a GPU that is still to be done."""


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_scans_match_the_record(case, dtype):
    recorded, tolerance = arrays(case), RECORDED_TO[dtype]
    layer = loaded(case, recorded, dtype).cuda()
    x = recorded["x"].to("cuda", dtype).requires_grad_()
    begin = {n: recorded["s0/" + n].to("cuda", dtype).requires_grad_() for n in case["states"] if "s0/" + n in recorded}
    for name, state in begin.items():
        setattr(layer, name, state)
    y = tt.scan(layer, x, backend="triton")
    found = {name: getattr(layer, name) for name in case["states"]}
    loss = (recorded["w"].to(y) * y).sum() + sum((recorded["v/" + n].to(s) * s).sum() for n, s in found.items())
    loss.backward()
    pairs = {"y": (y, recorded["y"]), "x": (x.grad, recorded["gx"])}
    pairs |= {"state " + n: (s, recorded["s/" + n]) for n, s in found.items()}
    pairs |= {n: (p.grad, recorded["g/" + n]) for n, p in layer.named_parameters()}
    pairs |= {"start " + n: (s.grad, recorded["gs0/" + n]) for n, s in begin.items()}
    assert_recorded({n: (got.cpu(), want) for n, (got, want) in pairs.items()}, tolerance)


def twice(layer, run, x):
    """The outcome of two scans, the second from the states of the first."""
    return outcome(layer, lambda x: torch.cat([run(x), run(x[:3])]), x, warm=True, key=5)


def compare(layer, x):
    def fused(x):
        return tt.scan(layer, x, backend="triton")

    if x.dtype == torch.float32:
        return check_rounds_as_eager(layer, fused, x, twice)
    return assert_close(twice(layer, fused, x), twice(layer, lambda x: tt.scan(layer, x, backend="eager"), x))


@pytest.mark.parametrize("composition", EXTREMES, ids=name_of)
def test_every_stage(composition):
    compare(composition.build().cuda(), inputs(11, 4, 3).cuda())


@pytest.mark.parametrize("quantiser", [F.round_ste(0.25), F.stochastic_round_ste(0.5), F.probabilistic_ste()], ids=repr)
def test_quantisers(quantiser, dtype):
    stages = (tt.Dual, tt.Synaptic, tt.Recurrent, tt.Ternary, tt.Scaled)
    layer = Composition(tt.compose(*stages)).build(quant_fn=quantiser, spike_fn=F.sigmoid4x).to("cuda", torch.float64)
    compare(layer, inputs(20, 4, 3).cuda())


@pytest.mark.parametrize("T", [1, 2, 3, 7, 8, 9, 100])
@pytest.mark.parametrize("name", ["LIB", "DSRLITS"])
def test_lengths(name, T, dtype):
    compare(getattr(tt.snn, name)(37).to("cuda", dtype), inputs(T, 5, 37, dtype=dtype).cuda())


SHAPES = [((3,), -1), ((0, 3), -1), ((2, 16, 9, 5), -3), ((4096, 33), -1), ((2, 70000), -1)]


@pytest.mark.parametrize("shape, dim", SHAPES)
def test_shapes(shape, dim):
    layer = tt.snn.DLIT(shape[dim], dim=dim).cuda()
    compare(layer, inputs(9, *shape, dtype=torch.float32).cuda())


def test_nothing_is_compiled_for_new_sizes():
    from tracetorch.backends.triton.loops import scan_backward, scan_forward

    layers = {}

    def run(T, B, N, inner=()):
        layer = layers.setdefault((N, inner), tt.snn.LIB(N, dim=-1 - len(inner)).cuda())
        layer.zero_states()
        x = torch.randn(T, B, N, *inner, device="cuda", requires_grad=True)
        tt.scan(layer, x, backend="triton").sum().backward()
        return [len(cached[0]) for kernel in (scan_forward, scan_backward) for cached in kernel.device_caches.values()]

    before = run(20, 3, 16)
    assert run(33, 5, 17) == run(8, 1, 1) == run(100, 7, 64, (3, 3)) == before
    before = run(20, 128, 4096)     # several rows in turn, as many each time, and then not
    assert run(21, 96, 4096) == run(8, 200, 4096) == run(9, 300, 4096) == run(100, 512, 4096) == before


@pytest.mark.parametrize("name", ["LIB", "SRLIT"])
def test_gradients_are_the_same_each_time(name):
    layer, x, found = getattr(tt.snn, name)(65).cuda(), torch.randn(50, 257, 65, device="cuda"), []
    for _ in range(3):
        layer.zero_states()
        y = tt.scan(layer, x, backend="triton")
        found.append(torch.autograd.grad(y.square().sum(), layer.parameters()))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_hard_spikes_equal_eager_bit_for_bit():
    # a draw falls between torch's sigmoid and ours once in some millions: few are drawn
    for fn, shape in ((F.surrogates.HeaviTanh(2.0), (100, 32, 64)), (F.surrogates.Logistic(2.0), (20, 4, 64))):
        layer, found = tt.snn.DSLIT(64, spike_fn=fn).cuda(), []
        x = torch.randn(shape, device="cuda")
        for backend in ("triton", "eager"):
            layer.zero_states()
            layer.rng = torch.tensor([2**62 + 5, 2**31 - 2], device="cuda")
            found.append(tt.scan(layer, x, backend=backend))
        assert torch.equal(*found)


@pytest.mark.parametrize("io", [torch.bfloat16, torch.float16])
def test_autocast_keeps_the_dtype_of_its_input(io):
    model = nn.Sequential(nn.Linear(8, 16), tt.snn.SLIB(16)).cuda()
    x = torch.randn(20, 4, 8, device="cuda")
    with torch.autocast("cuda", dtype=io):
        y = tt.scan(model, x, backend="triton")
        assert y.dtype == io and model[1].mem.dtype == torch.float32
        (want,) = output(model, lambda x: tt.scan(model, x, backend="eager"), x)
    y.float().sum().backward()
    exact = output(model.double(), lambda x: tt.scan(model, x, backend="eager"), x.double())
    assert_as_right([y], [[want]], exact)


@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")     # inductor's advice
@pytest.mark.parametrize("mode", [None, "reduce-overhead"])
def test_torch_compile(mode):
    model = nn.Sequential(nn.Linear(8, 16), tt.snn.LIB(16), nn.Linear(16, 4)).cuda()
    tt.backends.load("triton")
    compiled = torch.compile(lambda x: tt.scan(model, x, backend="triton"), fullgraph=True, mode=mode)

    def trained(model, run, x):
        tt.zero_states(model)
        model.zero_grad()
        y = run(x)
        y.square().sum().backward()
        return [y.detach().clone(), *(p.grad.clone() for p in model.parameters())]

    for T in (20, 20, 33):
        check_rounds_as_eager(model, compiled, torch.randn(T, 4, 8, device="cuda"), trained)


def test_cuda_graph_replays_with_fresh_draws():
    layer = tt.snn.LIB(16, quant_fn=F.stochastic_round_ste()).cuda()
    x = torch.rand(20, 4, 16, device="cuda")
    key = torch.tensor([7, 0], device="cuda")

    def run():
        layer.zero_states()
        layer.rng = key
        return tt.scan(layer, x, backend="triton")

    side = torch.cuda.Stream()
    with torch.cuda.stream(side), torch.no_grad():
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        y = run()
    for position in (0, 20):
        key[1] = position
        graph.replay()
        with torch.no_grad():
            assert torch.equal(y, run())


def test_current_stream():
    layer, x = tt.snn.LIB(64).cuda(), torch.randn(2000, 64, 64, device="cuda")
    want = tt.scan(layer, x + 1, backend="triton")
    torch.cuda.synchronize()
    layer.zero_states()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(50_000_000)
        later = x + 1
        y = tt.scan(layer, later, backend="triton")
        torch.cuda.current_stream().synchronize()
    assert torch.equal(y, want)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_device_of_the_tensors():
    layer = tt.snn.LIB(8).to("cuda:1")
    x = torch.randn(9, 2, 8, device="cuda:1", requires_grad=True)
    tt.scan(layer, x, backend="triton").sum().backward()
    assert x.grad.device == torch.device("cuda:1") and torch.isfinite(x.grad).all()


def test_two_processes_have_the_gradients_of_one(tmp_path):
    check_two_processes_have_the_gradients_of_one(tmp_path / "group", "triton", "cuda")


def test_explain_tells_what_kernels_use():
    from tracetorch.backends.triton.launch import SPARED

    (layer,) = tt.explain(tt.snn.LIB(8).cuda()).layers
    assert layer.backend == "triton" and "def leaky(" in layer.source
    assert [k.name for k in layer.kernels] == ["scan_forward", "scan_backward", "through_activations"]
    assert all(k.spills <= SPARED for k in layer.kernels)


def test_memory_stays_within_budget():
    for name, limit in (("LIB", 3.5), ("DSRLITS", 4.75)):
        layer, x = getattr(tt.snn, name)(1024).cuda(), torch.randn(100, 64, 1024, device="cuda", requires_grad=True)
        g = torch.randn_like(x)
        tt.scan(layer, x, backend="triton").backward(g)
        layer.zero_states()
        x.grad = None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        tt.scan(layer, x, backend="triton").backward(g)
        assert (torch.cuda.max_memory_allocated() - before) / (x.numel() * 4) < limit


def test_gradients_helper_agrees_across_devices():
    composition = Composition(tt.compose(tt.Dual, tt.Binary))
    here, there = composition.build(), composition.build().cuda()
    x = inputs(9, 2, 3)
    y, z = tt.scan(here, x, backend="eager"), tt.scan(there, x.cuda(), backend="triton")
    torch.testing.assert_close(z.cpu(), y, rtol=0, atol=1e-12)
    assert all(torch.isfinite(g).all() for g in gradients(here, y))

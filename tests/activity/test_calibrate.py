"""tt.calibrate: rates that are met, models that stay as they were where they can't be."""

import copy

import pytest
import torch
from torch import nn

import tracetorch as tt

HARD = tt.functional.round_ste()


def deep(width=64, depth=10, **kwargs):
    """Ten layers, in the default initialisation."""
    modules = []
    for k in range(depth):
        modules += [nn.Linear(8 if k == 0 else width, width), tt.snn.LIB(width, quant_fn=HARD, **kwargs)]
    return nn.Sequential(*modules, nn.Linear(width, 3), tt.snn.LI(3))


def rates(model, x, **options):
    """Share of outputs that are not zero of each layer that fires, counted from a scan."""
    seen, model = {}, copy.deepcopy(model)
    tt.zero_states(model)
    for path, layer in model.named_modules():
        if isinstance(layer, tt.Layer) and hasattr(layer, "spike_fn"):
            layer.register_forward_hook(lambda layer, args, y, path=path: seen.setdefault(path, []).append(y))
    with torch.no_grad():
        tt.scan(model, x, check=False, **options)
    return {path: float((torch.cat(ys) != 0).double().mean()) for path, ys in seen.items()}


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2])
def test_ten_layers(rate):
    """By default deep layers are silent; afterwards all fire at the rate, within 20 %, and the readout is untouched."""
    model, x = deep(), torch.rand(20, 16, 8)
    before, weights = rates(model, x), copy.deepcopy(model.state_dict())
    assert sum(r < 0.01 for r in before.values()) >= 5
    done = tt.calibrate(model, x, rate=rate)
    after = rates(model, x)
    assert all(abs(r - rate) < 0.2 * rate for r in after.values()), after
    for step, (path, r) in zip(done.steps, after.items(), strict=True):
        module = f"{int(path) - 1}"
        assert (step.layer, step.module) == (f"{path} LIB", f"{module} Linear")
        assert (step.before, step.after) == pytest.approx((before[path], r))
        for name in ("weight", "bias"):
            torch.testing.assert_close(model.state_dict()[f"{module}.{name}"],
                                       step.factor * weights.pop(f"{module}.{name}"))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in weights.items())


def test_it_says_what_it_did():
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 50), tt.snn.LIB(50, quant_fn=HARD))
    done = tt.calibrate(model, torch.rand(20, 8, 4), rate=0.2)
    (step,) = done.steps
    lines = repr(done).splitlines()
    assert lines[0] == "calibrated to a rate of 20%"
    assert lines[2].split() == ["layer", "rate", "before", "rate", "after", "scaled", "by"]
    assert lines[3].split()[:2] == ["1", "LIB"] and lines[3].split()[4:6] == ["0", "Linear"]
    assert float(lines[3].split()[-1]) == pytest.approx(step.factor, rel=1e-2)
    assert ">0 Linear</td>" in done._repr_html_()


def test_states_gradients_and_random_numbers_stay():
    model, x = deep(depth=2), torch.rand(9, 4, 8)
    tt.scan(model, x).sum().backward()
    states, generator = tt.save_states(model), torch.get_rng_state()
    tt.calibrate(model, x)
    assert all(torch.equal(v, states[name]) for name, v in tt.save_states(model).items())
    assert torch.equal(generator, torch.get_rng_state())
    assert model[0].weight.grad is not None and model[0].weight.requires_grad
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_saturated_network_is_calmed():
    model, x = deep(depth=3), torch.rand(20, 16, 8)
    for module in (model[0], model[2], model[4]):
        nn.init.constant_(module.weight, 3.0)
    assert min(rates(model, x).values()) > 0.9
    tt.calibrate(model, x, rate=0.1)
    assert all(0.08 < r < 0.12 for r in rates(model, x).values())


def convolutional():
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), tt.snn.LIB(8, dim=-3, quant_fn=HARD), nn.AvgPool2d(2),
                          nn.Conv2d(8, 8, 3), tt.snn.LIT(8, dim=-3, quant_fn=HARD), nn.Flatten(), nn.Dropout(0.2),
                          nn.Linear(8, 20), nn.LayerNorm(20), tt.snn.LIB(20, quant_fn=HARD))
    return model, torch.rand(12, 6, 1, 8, 8)


def stepped():
    return nn.Sequential(nn.Linear(6, 30), Handwritten(30), nn.Linear(30, 30), tt.snn.SRLITS(30, quant_fn=HARD)), \
        torch.rand(12, 6, 6)


class Handwritten(tt.snn.Layer):
    def __init__(self, n):
        super().__init__(n)
        self.spike_fn, self.mix = tt.functional.heavi_erfc(1.0), nn.Linear(n, n, bias=False)
        nn.init.eye_(self.mix.weight)
        self._initialize_state("mem")

    def forward(self, x):
        self._ensure_states(x)
        self.mem = 0.9 * self.mem + self.mix(x)
        spike = self.spike_fn(self.mem - 1.0)
        self.mem = self.mem - spike
        return spike


class Block(tt.Layer):
    """A layer of layers."""

    def __init__(self, n):
        super().__init__(n)
        self.inner = tt.snn.LIB(n, quant_fn=HARD)

    def forward(self, x):
        return self.inner(x)


def nested():
    return nn.Sequential(nn.Linear(6, 30), Block(30)), torch.rand(12, 6, 6)


@pytest.mark.parametrize(("build", "scaled"), [(convolutional, ["1 BatchNorm2d", "4 Conv2d", "9 LayerNorm"]),
                                               (stepped, ["0 Linear", "2 Linear"]), (nested, ["0 Linear"])])
def test_normalisations_convolutions_and_layers_written_by_hand(build, scaled):
    model, x = build()
    done = tt.calibrate(model, x, rate=0.15)
    assert [step.module for step in done.steps] == scaled
    for step in done.steps:
        assert step.after == pytest.approx(0.15, rel=0.1)
    report = tt.activity(model, x)
    assert [report.layers[step.layer.split()[0]].rate for step in done.steps] == pytest.approx(
        [step.after for step in done.steps])


def test_smooth_spikes_are_brought_to_a_mean():
    model, x = nn.Sequential(nn.Linear(6, 40), tt.snn.LIB(40)), torch.rand(12, 6, 6)
    tt.calibrate(model, x, rate=0.2)
    with torch.no_grad():
        assert float(tt.scan(model, x).mean()) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("fold", [True, False])
def test_padded_batches_with_time_elsewhere(fold):
    model, x, lengths = deep(depth=2), torch.rand(15, 6, 8), [15, 3, 7, 9, 1, 0]
    for b, n in enumerate(lengths):
        x[n:, b] = float("nan")
    tt.calibrate(model, x.movedim(0, 1), rate=0.1, lengths=lengths, time_dim=1, fold=fold)
    report = tt.activity(model, x, lengths=lengths)
    assert [report.layers[path].rate for path in ("1", "3")] == pytest.approx([0.1, 0.1], rel=0.1)


class Tied(nn.Module):
    """Two layers behind one Linear."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.one, self.two = tt.snn.LIB(8, quant_fn=HARD), tt.snn.LIB(8, quant_fn=HARD)

    def forward(self, x):
        return self.two(self.linear(self.one(self.linear(x))))


def with_tied_weights():
    model = deep(width=8, depth=2)
    model[2].weight = model[0].weight
    return model


def parametrised():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), tt.snn.LIB(8, quant_fn=HARD))


REFUSED = {
    "no module before": (lambda: nn.Sequential(nn.Linear(8, 8), tt.snn.LIB(8, quant_fn=HARD), tt.snn.LIT(8)),
                         r"2 LIT has no module with weights before it that could be scaled for it alone; put an nn"),
    "weights inside a layer": (lambda: nn.Sequential(nn.Linear(8, 8), Handwritten(8), tt.snn.LIB(8, quant_fn=HARD)),
                               "2 LIB has no module with weights before it"),
    "a bare layer": (lambda: tt.snn.LIB(8), "LIB is a layer alone, with no module with weights before it"),
    "called twice": (Tied, "linear, before one LIB, is called 2 times in one step"),
    "tied weights": (with_tied_weights, "0, before 1 LIB, shares weights with 2"),
    "parametrised": (parametrised, "0, before 1 LIB, is parametrised"),
    "nothing fires": (lambda: nn.Sequential(nn.Linear(8, 8), tt.snn.LI(8)), "no layer of the model fires"),
    "no input": (lambda: nn.Sequential(nn.Linear(8, 8), tt.snn.LIB(8, quant_fn=HARD), Zero(),
                                       nn.Linear(8, 8, bias=False), tt.snn.LIB(8, quant_fn=HARD)),
                 r"4 LIB does not reach a rate of 10%: scaling what it gets, it fires at 0% to 0%, nearest at 0%"),
    "fires by itself": (lambda: nn.Sequential(nn.Linear(8, 8), tt.snn.LIB(8, bias=2.0, quant_fn=HARD)),
                        r"1 LIB does not reach a rate of 10%"),
    "not proportional": (lambda: nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8, affine=False),
                                               tt.snn.LIB(8, quant_fn=HARD)),
                         r"once 0 is scaled by .*not proportional"),
}


class Zero(nn.Module):
    def forward(self, x):
        return 0 * x


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_can_not_do_it_refuses_and_leaves_the_model_as_it_was(case):
    build, text = REFUSED[case]
    model, x = build(), torch.rand(12, 6, 8)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=text):
        tt.calibrate(model, x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("options", "error", "text"), [
    ({"rate": 0.0}, ValueError, r"rate must lie in \(0, 1\), got 0.0"),
    ({"rate": 1.5}, ValueError, r"rate must lie in \(0, 1\), got 1.5"),
    ({"tolerance": 1.0}, ValueError, r"tolerance must lie in \(0, 1\), got 1.0"),
])
def test_arguments_out_of_range(options, error, text):
    with pytest.raises(error, match=text):
        tt.calibrate(deep(depth=1), torch.rand(5, 2, 8), **options)


def test_a_layer_called_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.layer = nn.Linear(8, 8), tt.snn.LIB(8, quant_fn=HARD)

        def forward(self, x):
            return self.layer(self.layer(self.linear(x)))

    with pytest.raises(RuntimeError, match="called twice in one"):
        tt.calibrate(Twice(), torch.rand(5, 2, 8))

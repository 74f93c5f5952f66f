"""What tt.activity sees of layers and modules of every sort, and what it says of those that it can't count."""

import copy

import pytest
import torch
from torch import nn

import tracetorch as tt

HARD = tt.functional.round_ste()


class Handwritten(tt.snn.Layer):
    """A leaky layer that is written as one step, with a weight inside."""

    def __init__(self, n, threshold):
        super().__init__(n)
        self.threshold = threshold
        self.mix = nn.Linear(n, n, bias=False)
        self.spike_fn = tt.functional.heavi_erfc(1.0)
        self._initialize_state("mem")

    def forward(self, x):
        self._ensure_states(x)
        self.mem = 0.9 * self.mem + self.mix(x)
        spike = self.spike_fn(self.mem - self.threshold)
        self.mem = self.mem - spike * self.threshold
        return spike


@pytest.mark.parametrize("lengths", [None, [7, 3]])
def test_a_layer_with_a_forward_of_its_own(lengths):
    torch.manual_seed(0)
    model = nn.Sequential(tt.snn.LIB(4, threshold=0.4, quant_fn=HARD), Handwritten(4, 0.05), nn.Linear(4, 2))
    x = torch.rand(7, 2, 4)
    with torch.no_grad():
        first = tt.scan(model[0], x, lengths=lengths)
        second = tt.scan(model[1], first, lengths=lengths)
    report = tt.activity(model, x, lengths=lengths)
    elements = 14 if lengths is None else 10
    found = report.layers["1"]
    assert found.output == "binary" and found.membrane is None and found.gradient is None
    torch.testing.assert_close(found.rates, (second != 0).double().sum((0, 1)) / elements)
    assert second.any()
    assert report.synapses["1.mix"].operations == int((first != 0).sum()) * 4
    assert report.synapses["1.mix"].multiplications == elements * 16
    assert report.synapses["2"].operations == int((second != 0).sum()) * 2
    assert report.notes == ("1 (Handwritten): its forward is its own, so membrane and gradient are not known.",)


def test_a_layer_with_a_forward_of_its_own_may_fire_both_ways():
    class Sign(tt.Layer):
        def forward(self, x):
            return torch.sign(x.round())

    assert tt.activity(Sign(4), torch.randn(7, 2, 4)).layers[""].output == "ternary"
    assert tt.activity(Sign(4), torch.rand(7, 2, 4)).layers[""].output == "binary"


class Block(tt.Layer):
    """A layer of layers."""

    def __init__(self, n):
        super().__init__(n)
        self.inner = tt.snn.LIB(n, threshold=0.3, quant_fn=HARD)

    def forward(self, x):
        return 0.5 * self.inner(x)


def test_a_layer_inside_a_layer_that_is_stepped():
    x = torch.rand(7, 2, 4)
    with torch.no_grad():
        spikes = tt.scan(tt.snn.LIB(4, threshold=0.3, quant_fn=HARD), x)
    for model, path in ((nn.Sequential(Block(4)), "0.inner"), (Block(4), "inner")):
        report = tt.activity(model, x)
        torch.testing.assert_close(report.layers[path].rates, spikes.double().mean((0, 1)))
        assert report.layers[path].output == "binary"
        assert "not known" in " ".join(report.notes)


class Feedback(nn.Module):
    """What it sent a step ago comes back: no module that can be folded."""

    def __init__(self):
        super().__init__()
        self.inner, self.back, self.last = tt.snn.LIB(4, threshold=0.5, quant_fn=HARD), nn.Linear(4, 4), None

    def forward(self, x):
        self.last = self.inner(x if self.last is None else x + self.back(self.last))
        return self.last


def test_a_module_that_has_to_be_stepped():
    x, model = torch.rand(7, 2, 4), Feedback()
    with torch.no_grad():
        spikes = tt.scan(copy.deepcopy(model), x, fold=False)
    report = tt.activity(model, x, fold=False)
    torch.testing.assert_close(report.layers["inner"].rates, spikes.double().mean((0, 1)))
    assert report.layers["inner"].membrane[0] < report.layers["inner"].membrane[1]
    assert report.synapses["back"].operations == int((spikes[:-1] != 0).sum()) * 4


class Twice(nn.Module):
    def __init__(self, shared):
        super().__init__()
        self.shared = shared

    def forward(self, x):
        return self.shared(self.shared(x))


def test_a_shared_linear_is_counted_at_each_call():
    model = nn.Sequential(Twice(nn.Linear(4, 4, bias=False)))
    x = torch.ones(3, 2, 4)
    assert tt.activity(model, x).synapses["0.shared"].multiplications == 2 * 3 * 2 * 16
    assert tt.activity(model, x).synapses["0.shared"].operations == 2 * 3 * 2 * 16


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("layer", [tt.snn.LIB(4), Handwritten(4, 0.1)], ids=["composed", "handwritten"])
def test_a_shared_layer_is_refused(layer, fold):
    with pytest.raises(RuntimeError, match=r"called twice in one .*use two layers"):
        tt.activity(Twice(layer), torch.rand(3, 2, 4), fold=fold)


@pytest.mark.parametrize("name", [n for n in tt.snn.__all__ if n != "Layer"])
def test_every_ready_made_neuron(name):
    cls = getattr(tt.snn, name)
    with tt.backend("eager"):
        found = tt.activity(cls(4), torch.randn(6, 3, 4)).layers[""]
    assert found.title == name and found.neurons == 4
    low, high = found.membrane
    assert low < high
    hard = name in ("LIF", "PLIF", "ALIF")
    assert found.output == ("binary" if hard else "smooth" if cls.pipeline.fires else "membrane")
    assert (found.gradient is not None) == cls.pipeline.fires


def test_parametrised_weights_are_counted():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), tt.snn.LIB(4))
    report = tt.activity(model, torch.rand(3, 2, 5))
    assert report.synapses["0"].multiplications == 3 * 2 * 20 and not report.notes


def test_a_firing_stage_without_a_spike_function():
    class Coin(tt.Stage):
        place = "fire"
        threshold = tt.Positive(1.0, order=40)

        def step(self, s):
            s.spike = s.output = torch.where(s.potential > s.threshold, 1.0, 0.0)

    report = tt.activity(tt.compose(Coin)(2), 2 * torch.rand(5, 2))
    assert report.layers[""].gradient is None and report.layers[""].rate > 0
    assert report.notes[0].endswith("gradient is not known: its firing stage does not call s.fire.")


def test_random_spikes():
    layer = tt.snn.LIB(50, threshold=0.5, spike_fn=tt.functional.logistic(1.0))
    found = tt.activity(layer, torch.rand(20, 4, 50)).layers[""]
    assert found.output == "binary" and 0.1 < found.rate < 0.9


def test_what_was_not_called_or_not_counted_is_noted():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = tt.snn.LIB(4), tt.snn.LIB(4)
            self.mixing = nn.Parameter(torch.rand(4, 4))
            self.turned, self.spare = nn.ConvTranspose1d(1, 1, 1), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(self.turned((x @ self.mixing)[:, None])[:, 0])

    report = tt.activity(Partly(), torch.rand(3, 2, 4))
    assert list(report.layers) == ["used"]
    assert report.notes == ("unused (LIB) was not called.", "spare (Linear) was not called.",
                            "the model (Partly): its operations are not counted.",
                            "turned (ConvTranspose1d): its operations are not counted.")


@pytest.mark.parametrize(("call", "name"), [
    (lambda x, w: x @ w, "matmul"), (lambda x, w: torch.einsum("bi,ij->bj", x, w), "einsum"),
    (lambda x, w: nn.functional.linear(x, w), "linear"),
    (lambda x, w: nn.functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])[:, 0],
     "scaled_dot_product_attention")])
def test_multiplications_written_as_functions_are_noted(call, name):
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.layer = nn.Linear(4, 4), tt.snn.LIB(4)

        def forward(self, x):
            return self.layer(call(self.linear(x), torch.ones(4, 4)))

    (note,) = tt.activity(Written(), torch.rand(3, 2, 4)).notes
    assert note == f"Functions that multiply were called outside of modules ({name}): their operations are not counted."


def test_attention_of_torch_is_noted_once():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.layer = nn.MultiheadAttention(4, 2), tt.snn.LIB(4)

        def forward(self, x):
            return self.layer(self.attention(x[None], x[None], x[None])[0][0])

    notes = tt.activity(Attending(), torch.rand(3, 2, 4)).notes
    assert "attention (MultiheadAttention): its operations are not counted." in notes
    assert not any("Functions" in note for note in notes)

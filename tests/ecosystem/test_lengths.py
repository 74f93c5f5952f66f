"""Padded batches: each element of a padded scan is what it is when scanned alone."""

import pytest
import torch
from torch import nn

import tracetorch as tt

LENGTHS = [7, 0, 3, 1, 7]




LAYERS = {
    "LI": lambda: tt.snn.LI(4),
    "DSRLITS": lambda: tt.snn.DSRLITS(4, pos_rec_weight=0.5, neg_rec_weight=-0.3),
    "ALIF": lambda: tt.snn.ALIF(4),
    "refractory": lambda: tt.compose(tt.Refractory(2), tt.Binary, tt.Reset("zero"))(
        4, spike_fn=tt.functional.heavi_tanh(2.0)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("padding", [0.0, float("nan"), float("inf")])
def test_padded_scan_is_each_element_alone(name, padding, backend):
    layer = LAYERS[name]().double()
    x = torch.randn(7, len(LENGTHS), 4, dtype=torch.float64)
    weight = torch.randn_like(x)
    padded = x.clone()
    for b, length in enumerate(LENGTHS):
        padded[length:, b] = padding
    padded.requires_grad_()
    y = tt.scan(layer, padded, lengths=LENGTHS, backend=backend)
    states = layer.save_states()
    (y * weight).sum().backward()
    got = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    for b, length in enumerate(LENGTHS):
        layer.zero_states()
        assert torch.equal(y[length:, b], torch.zeros(7 - length, 4, dtype=torch.float64))
        assert torch.equal(padded.grad[length:, b], torch.zeros(7 - length, 4, dtype=torch.float64))
        if length == 0:
            assert all(torch.equal(s[b], torch.zeros_like(s[b])) for s in states.values())
            continue
        alone = x[:length, b:b + 1].clone().requires_grad_()
        y_alone = tt.scan(layer, alone, backend="eager")
        (y_alone * weight[:length, b:b + 1]).sum().backward()
        torch.testing.assert_close(y[:length, b], y_alone[:, 0])
        torch.testing.assert_close(padded.grad[:length, b], alone.grad[:, 0])
        for key, state in layer.save_states().items():
            torch.testing.assert_close(states[key][b], state[0])
    for grad, p in zip(got, layer.parameters(), strict=True):
        torch.testing.assert_close(grad, p.grad)


def test_padded_module_masks_what_comes_after_the_layers(backend):
    model = nn.Sequential(nn.Linear(3, 4), tt.snn.LIT(4), nn.Linear(4, 2), tt.snn.LI(2), nn.Linear(2, 2))
    x = torch.randn(6, 3, 3)
    y = tt.scan(model, x, lengths=torch.tensor([6, 2, 4]), backend=backend)
    folded = tt.save_states(model)
    tt.zero_states(model)
    stepped = tt.scan(model, x, lengths=[6, 2, 4], fold=False, backend="eager")
    torch.testing.assert_close(y, stepped)
    for key, state in tt.save_states(model).items():
        torch.testing.assert_close(folded[key], state)
    assert torch.equal(y[2:, 1], torch.zeros(4, 2)) and bool((y[:2, 1] != 0).all())


class Counter(tt.snn.Layer):
    """A hand-written layer that counts steps."""

    def __init__(self, n):
        super().__init__(n)
        self._initialize_state("count")

    def forward(self, x):
        self._ensure_states(x)
        self.count = self.count + 1
        return x + self.count


def test_hand_written_layers_stop_too():
    layer = Counter(2)
    y = tt.scan(layer, torch.zeros(4, 3, 2), lengths=[4, 2, 0])
    assert y[:, :, 0].tolist() == [[1, 1, 0], [2, 2, 0], [3, 0, 0], [4, 0, 0]]
    assert layer.count[:, 0].tolist() == [4, 2, 0]


@pytest.mark.parametrize(("lengths", "error", "words"), [
    ([2.0, 1.0], TypeError, "whole numbers, got torch.float32"),
    ([2, 1, 1], ValueError, r"must have shape \[2\].*got \[3\]"),
    ([5, 1], ValueError, "between 0 and T=4, got 1 to 5"),
    ([-1, 1], ValueError, "between 0 and T=4, got -1 to 1"),
])
def test_lengths_that_cannot_be(lengths, error, words):
    layer = tt.snn.LI(3)
    with pytest.raises(error, match=words):
        tt.scan(layer, torch.zeros(4, 2, 3), lengths=lengths)
    assert layer.mem is None


def test_lengths_need_a_batch():
    with pytest.raises(ValueError, match="a batch dimension after time"):
        tt.scan(tt.snn.LI(3), torch.zeros(4), lengths=[1])

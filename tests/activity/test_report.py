"""How a report shows itself, what it calls attention to, and that it converts to plain numbers."""

import html
import json
import re

import pytest
import torch
from torch import nn

import tracetorch as tt

HARD = tt.functional.round_ste()


def report(**kwargs):
    """Two neurons of which one always fires, a soft layer and a readout; all numbers known beforehand."""
    hard = tt.snn.LIB(2, beta=1e-6, threshold=torch.tensor([0.5, 5.0]), quant_fn=HARD)
    soft, linear = tt.snn.LIB(4, beta=1e-6, threshold=1.5), nn.Linear(2, 4, bias=False)
    nn.init.constant_(linear.weight, 1.0)
    return tt.activity(nn.Sequential(hard, linear, soft, nn.Linear(4, 3), tt.snn.LI(3)), torch.ones(10, 2, 2), **kwargs)


def rows(text, first):
    """The cells of the table whose heading starts with a word."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(first))
    end = next((i for i in range(start, len(lines)) if not lines[i]), len(lines))
    return [re.split(r" {2,}", line.strip()) for line in lines[start:end]]


LAYERS = [["layer", "output", "neurons", "rate", "10th", "50th", "90th", "silent", "always", "gradient", "membrane"],
          ["0 LIB", "binary", "2", "50%", "10%", "50%", "90%", "50%", "50%", "50%", "1 to 1"],
          ["2 LIB", "smooth", "4", "12%", "12%", "12%", "12%", "100%", "0%", "100%", "1 to 1"],
          ["4 LI", "membrane", "3", "-", "-", "-", "-", "-", "-", "-"]]
WEIGHTS = [["weights", "non-zero", "multiplications", "operations", "share", "accumulates", "break-even"],
           ["1 Linear", "50%", "8", "4", "50%", "100%", "200%"],
           ["3 Linear", "100%", "12", "12", "100%", "0%", "100%"]]


def test_text():
    text = repr(report(accumulate_cost=0.5))
    assert text.startswith("10 steps, batch of 2; multiplications and operations are per step of one element\n\n")
    assert [row[:11] for row in rows(text, "layer")][:3] == LAYERS[:3]
    assert rows(text, "layer")[3][:10] == LAYERS[3]
    assert rows(text, "weights") == WEIGHTS
    assert max(map(len, text.splitlines())) <= 120


def test_the_cost_and_the_fraction_are_stated():
    text = " ".join(repr(report(accumulate_cost=0.5, gradient_fraction=0.2)).split())
    assert "where the derivative of the spike function is at least 20% of its peak." in text
    assert "at which operations cost as much as multiplications, an accumulate counted 0.5 times." in text


def test_html_shows_the_same():
    shown = report(accumulate_cost=0.5)._repr_html_()
    cells = [[html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
             for row in re.findall(r"<tr>(.*?)</tr>", shown)]
    assert cells[:3] == LAYERS[:3] and cells[4:] == WEIGHTS
    assert "sends smooth spikes" in shown and "<li>" in shown


def test_names_are_escaped():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module("<i>", tt.snn.LIB(2))

        def forward(self, x):
            return self._modules["<i>"](x)

    shown = tt.activity(Odd(), torch.rand(3, 2, 2))._repr_html_()
    assert "&lt;i&gt; LIB" in shown and "<i>" not in shown


def test_plain_numbers():
    found = report(accumulate_cost=0.5)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["steps"] == 10 and plain["batch"] == 2 and plain["elements"] == 20
    assert plain["layers"]["0"]["rates"] == [1.0, 0.0] and plain["layers"]["0"]["rate"] == 0.5
    assert plain["layers"]["4"]["rates"] is None and plain["layers"]["4"]["output"] == "membrane"
    assert plain["synapses"]["1"] == {
        "path": "1", "name": "Linear", "inputs": 40, "nonzero": 0.5, "multiplications": 160, "operations": 80,
        "accumulates": 80, "break_even": 2.0}
    assert plain["attention"] == list(found.attention) and plain["notes"] == []


def test_summary():
    assert report().summary().splitlines() == [
        "neurons fire at 25% of steps; 5 of 6 never do",
        "synaptic operations per step: 16; multiplications if computed densely: 20 (80%)"]


def test_padded_batches_say_how_many_steps_there_were():
    text = repr(tt.activity(tt.snn.LIB(2), torch.rand(5, 3, 2), lengths=[5, 1, 2]))
    assert text.startswith("5 steps, batch of 3, 8 steps in all;")


def lone(threshold, spike_fn=None):
    layer = tt.snn.LIB(4, beta=1e-6, threshold=threshold, quant_fn=HARD, **({"spike_fn": spike_fn} if spike_fn else {}))
    return tt.activity(layer, torch.ones(100, 4)).attention


def test_nothing_needs_attention_where_all_is_well():
    layer = tt.snn.LIB(4, beta=0.9, threshold=1.0, quant_fn=HARD)
    assert tt.activity(layer, 0.3 * torch.ones(100, 4)).attention == ()


def test_silence():
    (text,) = lone(1.4)
    assert text == ("Nearly silent: LIB (rate 0%, 100% of neurons silent). The next layer gets next to nothing to "
                    "learn from: try tt.calibrate(model, x, rate=0.1), larger weights before it, or a lower threshold.")


def test_a_low_rate_is_near_silence():
    layer = tt.snn.LIB(4, beta=1e-6, quant_fn=HARD)
    x = torch.zeros(200, 4)
    x[7] = 2.0
    (text,) = [t for t in tt.activity(layer, x).attention if t.startswith("Nearly")]
    assert "LIB (rate 0.5%, 0% of neurons silent)" in text


def test_many_silent_neurons_are_near_silence_though_one_is_loud():
    layer = tt.snn.LIB(10, beta=1e-6, threshold=torch.tensor([0.6] + [1.4] * 9), quant_fn=HARD)
    (text,) = tt.activity(layer, torch.ones(20, 10)).attention
    assert text.startswith("Nearly silent: LIB (rate 10%, 90% of neurons silent).")


def test_saturation():
    (text,) = lone(0.6)
    assert text == ("Saturated: LIB (100% of neurons fire at every step). Spikes at every step say nothing: try "
                    "tt.calibrate(model, x, rate=0.1), smaller weights before it, or a higher threshold.")


def test_shut_gradient():
    narrow = tt.functional.super_spike(100.0)
    text = lone(1.4, narrow)[1]
    assert text == ("Little gradient gets through: LIB (at 0% of steps). What lies before it hardly learns: bring "
                    "membranes near the threshold (tt.calibrate), or take a spike_fn with a wider derivative.")


def test_layers_with_the_same_trouble_are_named_together():
    model = nn.Sequential(*[tt.snn.LIB(4, threshold=50.0, quant_fn=HARD) for _ in range(3)])
    texts = tt.activity(model, torch.rand(5, 2, 4)).attention
    assert [text.split(":")[0] for text in texts] == ["Nearly silent", "Little gradient gets through"]
    assert all(f"{k} LIB (" in text for k in range(3) for text in texts)


@pytest.mark.parametrize(("value", "shown"), [(0.0, "0%"), (1.0, "100%"), (0.123, "12%"), (0.0996, "10%"),
                                              (0.0994, "9.9%"), (0.00042, "0.042%"), (None, "-")])
def test_shares_are_written_with_two_digits(value, shown):
    from tracetorch.activity.table import share

    assert share(value) == shown

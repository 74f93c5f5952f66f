"""What explain says of layers that fuse, that don't, and of modules around them."""

import pytest
import torch
from torch import nn

import tracetorch as tt
from tracetorch.explain import explain


def unfusable(v):
    return v - v.mean()


class Own(tt.Layer):
    """A hand-written layer."""

    def forward(self, x):
        return x


def test_layer_that_fuses():
    (layer,) = explain(tt.snn.LIB(3)).layers
    assert (layer.path, layer.name, layer.backend) == ("", "LIB", "cpp")
    assert "cpp" not in layer.why_not and "the input is on cpu" in layer.why_not["triton"]
    assert layer.operators == (8, 19)
    assert layer.kept_bytes == pytest.approx(4 + 4 / 10)
    assert layer.kept == "the input, and 1 state every 10 steps: 4.4 bytes per neuron and step"
    assert "const T v0 = p_beta * s_mem;" in layer.source
    assert "forward.h" in layer.source and "backward.h" in layer.source


def test_input_sets_the_dtype():
    (layer,) = explain(tt.snn.LIB(3).to(torch.bfloat16), torch.zeros(1, 3, dtype=torch.bfloat16)).layers
    assert "using IO = tt::bfloat16;" in layer.source and "using T = float;" in layer.source
    assert layer.kept_bytes == pytest.approx(2 + 4 / 10)


def test_module_with_layers_of_all_kinds():
    model = nn.Sequential(nn.Linear(3, 3), tt.snn.LIB(3), nn.Sequential(tt.snn.LIT(3, spike_fn=unfusable)), Own(3))
    explanation = explain(model)
    assert [(e.path, e.name, e.backend) for e in explanation.layers] == [
        ("1", "LIB", "cpp"), ("2.0", "LIT", "eager"), ("3", "Own", "eager"),
    ]  # fmt: skip
    fused, refused, own = explanation.layers
    assert refused.why_not["cpp"].startswith("stage Ternary, line ") and "aten.mean" in refused.why_not["cpp"]
    assert refused.operators is None and refused.source == "" and refused.kept_bytes is None
    assert own.why_not["cpp"] == "it has a forward of its own, which a scan calls step by step"
    text = repr(explanation)
    assert "1: LIB runs on cpp" in text and "2.0: LIT runs on eager" in text
    assert "operators per step: 8 forward, 19 backward" in text and fused.source in text


def test_linears_tell_how_their_last_call_ran():
    model = nn.Sequential(tt.Linear(200, 128), tt.snn.LIB(128), tt.Linear(128, 3))
    explanation = explain(model)
    assert [repr(e) for e in explanation.linears] == [f"{i}: Linear has not been called yet" for i in (0, 2)]
    model[0](torch.eye(200).repeat(5, 1))
    model[2].double()(torch.ones(2, 128).double())
    first, last = explain(model).linears
    assert (first.path, first.seen.path, last.seen.path) == ("0", "sparse", "torch")
    assert repr(first) == "0: Linear ran sparse, 0.5% of its input not zero"
    assert repr(last).startswith("2: Linear ran as nn.Linear: input torch.float64")
    assert "0: Linear ran sparse" in repr(explain(model)) and "<p>0: Linear ran sparse" in explain(model)._repr_html_()
    assert repr(explain(tt.Linear(2, 2))) == "Linear has not been called yet"


def test_table_for_a_notebook():
    html = explain(nn.Sequential(tt.snn.LIB(3), tt.snn.LIB(3, spike_fn=unfusable)))._repr_html_()
    assert html.startswith("<table>") and html.count("<tr>") == 3
    assert "<td>8 forward, 19 backward</td>" in html and "<td>not captured</td>" in html
    assert "i &lt; " not in html.partition("<details>")[0] and "&lt;T&gt;(x_row[i])" in html


def test_callable_with_parameters():
    (layer,) = explain(tt.snn.LIB(3, spike_fn=tt.functional.Arctan(2.0))).layers
    assert layer.backend == "cpp" and "p_spike_fn_alpha" in layer.source


def test_what_is_no_module():
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module, got int"):
        explain(3)
    with pytest.raises(TypeError, match=r"tt\.explain: the input must be a tensor, got list"):
        explain(tt.snn.LIB(3), [1.0])
    assert repr(explain(nn.Linear(2, 2))) == "no tracetorch layers"


def test_how_an_input_is_read():
    layer, x = tt.snn.LIB(6), torch.zeros(4, 3, 12)
    told = {name: explain(layer, given).layers[0].reading for name, given in {
        "contiguous": x[..., :6].clone(), "time second": torch.zeros(3, 4, 6).movedim(1, 0), "part": x[..., :6],
        "every other": x[..., ::2], "another size": x}.items()}  # fmt: skip
    copied = "copied once: its steps are neither contiguous nor pieces at one distance"
    assert told == {"contiguous": "read as it lies", "time second": "read as it lies", "part": "read as it lies",
                    "every other": "read as it lies", "another size": ""}
    assert explain(layer, torch.zeros(4, 3, 5, 12)[..., ::2]).layers[0].reading == "read as it lies"
    assert explain(layer, torch.zeros(4, 6, 5, 12)[:, ::2, :, ::2]).layers[0].reading == copied
    assert explain(tt.Feedback(layer, nn.Linear(6, 6)), torch.zeros(3, 4, 6).movedim(1, 0)).layers[0].reading == (
        "copied once: this loop reads contiguous steps")
    outside = torch.zeros(4, 6, 3).transpose(1, 2)
    random = tt.snn.LIB(6, quant_fn=tt.functional.stochastic_round_ste(0.5))
    assert explain(layer, outside).layers[0].reading == "read as it lies"
    (found,) = explain(random, outside).layers
    assert found.reading == f"{copied} in the order in which random numbers are drawn"
    assert f"  the input is {copied}" in repr(found)

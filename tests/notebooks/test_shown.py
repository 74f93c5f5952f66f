"""How composed classes and layers show themselves in a notebook."""

import html
import re

import torch

import tracetorch as tt


def text(shown: str) -> str:
    """The words of a diagram, tags taken out."""
    return html.unescape(re.sub(r"<[^>]+>", " ", shown))


def test_a_class_shows_its_stages_in_order_with_formulas_and_defaults():
    words = text(tt.snn.SLIB._repr_html_())
    parts = ["SLIB", "input", "Synaptic", "syn = alpha*syn + (1 - alpha)*x", "alpha  = 0.5", "Leaky",
             "mem = beta*mem + drive", "beta  = 0.9", "Binary", "threshold  = 1", "bias  = 0", "Reset", "output"]
    places = [words.index(part) for part in parts]
    assert places == sorted(places)


def test_dual_shows_pairs():
    words = text(tt.snn.DLIT._repr_html_())
    for name in ("pos_beta", "neg_beta", "pos_mem", "neg_mem", "pos_threshold", "neg_threshold"):
        assert f" {name} " in words
    assert " beta " not in words


def test_formulas_beside_each_other_stand_below_each_other():
    shown = tt.snn.SLIB._repr_html_()
    formulas = html.unescape(re.search(r"<pre[^>]*>(syn.*?)</pre>", shown, re.S).group(1))
    assert formulas == "syn = alpha*syn + (1 - alpha)*x\nx = syn"


def test_comparisons_in_formulas_are_escaped():
    assert "v &gt;= 0" in tt.snn.DLIT._repr_html_()


def test_a_layer_shows_values_ranges_and_what_is_learned():
    layer = tt.snn.LIB(3, beta=torch.tensor([0.5, 0.7, 0.9]), threshold=2.0, threshold_rank=0, learn_threshold=False)
    words = text(layer._repr_html_())
    assert "LIB(3)" in words
    assert "beta  = 0.5 to 0.9 (3), learned" in words
    assert "threshold  = 2, fixed" in words
    assert "mem , not used yet" in words
    layer(torch.zeros(4, 3))
    assert "mem , shape [4, 3]" in text(layer._repr_html_())


def test_a_stage_of_ones_own_is_shown_and_one_without_formula_too():
    class Halving(tt.Stage):
        """Half of the input."""

        place = "input"

        def step(self, s):
            s.x = 0.5 * s.x

    words = text(tt.compose(Halving, tt.Binary, name="HalvingLIB")._repr_html_())
    assert "HalvingLIB" in words and "Halving " in words



"""What response, surrogate and distribution draw, and what they refuse."""

import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import tracetorch as tt
import tracetorch.plot as ttplot

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_response_shows_input_membrane_and_output():
    axes = ttplot.response(tt.snn.LIB, steps=20, beta=0.5, quant_fn=tt.functional.round_ste())
    assert axes.shape == (3, 4)
    assert [ax.get_title() for ax in axes[0]] == ["pulse", "step", "ramp", "noise"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["input", "membrane", "output"]
    # a pulse of 1 at step 2 and of -1 at step 12, halved every step
    membrane = np.zeros(20)
    membrane[2:12] = 0.5 ** np.arange(10)
    membrane[12:] = membrane[11] / 2 * 0.5 ** np.arange(8) - 0.5 ** np.arange(8)
    drawn = axes[1, 0].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, membrane, atol=1e-6)
    assert axes[1, 0].lines[1].get_ydata()[0] == pytest.approx(1.0)
    assert axes[1, 2].lines[0].get_ydata()[0] == -1  # the ramp starts afresh


def test_response_draws_spikes_of_both_signs():
    axes = ttplot.response(tt.snn.LIT, steps=20, quant_fn=tt.functional.round_ste(), beta=0.9)
    up, down = axes[2, 1].collections
    assert {int(s[0][0]) for s in up.get_segments()} <= set(range(2, 8))
    assert {int(s[0][0]) for s in down.get_segments()} <= set(range(12, 18))
    assert len(up.get_segments()) > 0 and len(down.get_segments()) > 0


@pytest.mark.parametrize("name", [n for n in tt.snn.__all__ if n != "Layer"])
def test_every_class_has_a_response(name):
    cls = getattr(tt.snn, name)
    hard = {"quant_fn": tt.functional.round_ste()} if cls.pipeline.fires else {}
    axes = ttplot.response(cls, steps=12, **hard)
    assert all(np.isfinite(ax.lines[0].get_ydata()).all() for ax in axes[1])


def test_response_draws_into_given_axes():
    _, axes = plt.subplots(3, 4)
    assert (ttplot.response(tt.snn.LI, axes, steps=12) == axes).all()
    with pytest.raises(ValueError, match="response: got 2 axes, needs 3 rows of 4"):
        ttplot.response(tt.snn.LI, axes[0, :2], steps=12)


def test_response_needs_some_steps():
    with pytest.raises(ValueError, match="steps must be 10 or more, got 3"):
        ttplot.response(tt.snn.LI, steps=3)


def test_surrogate_draws_function_and_derivative():
    ax = ttplot.surrogate(tt.functional.sigmoid4x, limits=(-1, 1))
    y, slope = ax.lines
    x = y.get_xdata()
    s = 1 / (1 + np.exp(-4 * x))
    np.testing.assert_allclose(y.get_ydata(), s, atol=1e-6)
    np.testing.assert_allclose(slope.get_ydata(), 4 * s * (1 - s), atol=1e-5)
    assert (x[0], x[-1]) == (-1, 1)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["spike", "derivative in training"]


def test_surrogate_works_without_gradient_mode():
    with torch.no_grad():
        assert np.ptp(ttplot.surrogate(torch.sigmoid).lines[1].get_ydata()) > 0


def test_surrogate_refuses_descending_limits():
    with pytest.raises(ValueError, match=r"limits must ascend, got \(1, -1\)"):
        ttplot.surrogate(torch.sigmoid, limits=(1, -1))


def test_distribution_draws_values_over_neurons():
    beta = torch.linspace(0.1, 0.9, 41)
    axes = ttplot.distribution(tt.snn.LIB(41, beta=beta, threshold=1.5, threshold_rank=0), names=["beta", "threshold"])
    assert axes.shape == (1, 2)
    assert sum(bar.get_height() for bar in axes[0, 0].patches) == 41
    assert axes[0, 0].lines[0].get_xdata()[0] == pytest.approx(0.5)
    assert not axes[0, 1].patches
    assert [ax.get_xlabel() for ax in axes[0]] == ["mean 0.5", "shared 1.5"]


def test_distribution_shows_all_parameters():
    axes = ttplot.distribution(tt.snn.DSRLITS(6))
    assert [ax.get_title() for ax in axes.flat] == list(tt.snn.DSRLITS.pipeline.parameters)


def test_distribution_refuses_an_unknown_parameter():
    with pytest.raises(ValueError, match="LI has no 'alpha'; it has beta"):
        ttplot.distribution(tt.snn.LI(2), names=["alpha"])
    with pytest.raises(ValueError, match="I has no parameters to draw"):
        ttplot.distribution(tt.compose(tt.Integrator)(3))


def test_without_matplotlib_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import torch, tracetorch.plot as p\n"
        "try: p.raster(torch.zeros(3))\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "tracetorch.plot needs matplotlib: pip install tracetorch[plot]"


def test_importing_does_not_import_matplotlib():
    code = "import sys, tracetorch.plot; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"

"""The demo and the command line: what they print, write and refuse."""

import contextlib
import io
import re
import sys

import pytest
import torch

import tracetorch as tt
from tracetorch.__main__ import main


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Everything that one full run of the demo printed, and its picture."""
    folder = tmp_path_factory.mktemp("demo")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["demo", "--picture", str(folder / "picture.png")]) == 0
    return printed.getvalue(), folder / "picture.png"


def test_the_demo_names_19_of_20_held_out_digits(demo):
    (line,) = [s for s in demo[0].splitlines() if "held-out" in s]
    assert line.startswith("accuracy on 450 held-out digits: ")
    assert float(line.split()[-1].rstrip("%")) >= 95.0


def test_the_demo_says_what_its_neurons_do(demo):
    fires, operations = [s for s in demo[0].splitlines() if s.startswith(("neurons fire at", "synaptic operations"))]
    assert 1 < float(fires.split()[3].rstrip("%")) < 50 and fires.endswith(" of 256 never do")
    done, dense = (int(number.replace(",", "")) for number in re.findall(r": ([\d,]+)", operations))
    assert 0 < done < dense == 8 * 128 + 128 * 128 + 128 * 10


def test_the_demo_reports_time_per_epoch(demo):
    (line,) = [s for s in demo[0].splitlines() if s.startswith("one epoch: ")]
    stepped, scanned = float(line.split()[2]), float(line.split()[5])
    assert 0 < scanned < stepped


def test_the_demo_writes_its_picture(demo):
    from matplotlib.image import imread

    pixels = imread(demo[1])
    assert pixels.shape[:2] == (950, 1300)
    assert pixels[..., :3].std() > 0.05


def test_the_demo_composes_its_second_neuron_from_its_own_stage():
    from tracetorch.demo.digits import Accommodating, network

    model = network()
    assert Accommodating() in type(model[3]).stages
    assert issubclass(type(model[1]), tt.snn.LIB)


def test_stepping_and_scanning_the_demo_network_agree():
    from tracetorch.demo.digits import network, scanned, stepped

    model, images = network(), torch.rand(5, 8, 8)
    torch.testing.assert_close(stepped(model, images), scanned(model, images))


def test_the_picture_shows_one_image_after_another():
    from tracetorch.demo.digits import network, over_time
    from tracetorch.demo.picture import hidden_activity

    model, x = network(), over_time(torch.rand(3, 8, 8))
    spikes, recorded = hidden_activity(model, x)
    assert spikes.shape == recorded["potential"].shape == (3 * 24, 128)
    alone, _ = hidden_activity(model, x[:, 1:2])
    assert torch.equal(spikes[24:48], alone)
    assert spikes.sum() > 0


def test_the_picture_traces_neurons_that_can_be_read():
    from tracetorch.demo.picture import readable

    spikes = torch.zeros(10, 4)
    spikes[:3, :3], spikes[:, 3] = 1.0, 1.0
    potential = torch.tensor([5.0, 1.0, 2.0, 0.1]).expand(10, 4)
    assert readable(spikes, potential, 3) == [1, 2, 0]


@pytest.mark.parametrize("package", ["sklearn", "matplotlib", "tqdm"])
def test_a_missing_extra_is_named_in_one_line(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == f"the demo needs {package}: pip install tracetorch[demo]\n"


def test_cache_is_shown_and_cleared(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRACETORCH_CACHE_DIR", str(tmp_path))
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 0 kernels, 0.0 MB\n"

    class Halving(tt.Stage):
        def step(self, s):
            s.shift = s.shift + 0.123456789 * s.x

    tt.scan(tt.compose(Halving, tt.Binary, name="Halving")(3), torch.rand(5, 3), backend="cpp")
    main(["cache"])
    assert f"{tmp_path}: 2 kernels" in capsys.readouterr().out      # forward and backward
    main(["cache", "--clear"])
    assert capsys.readouterr().out == f"removed 2 kernels\n{tmp_path}: 0 kernels, 0.0 MB\n"


def test_an_unknown_command_says_which_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["train"])
    assert "choose from" in capsys.readouterr().err


def test_a_log_gets_one_line_per_epoch(demo):
    lines = [s for s in demo[0].splitlines() if s.startswith("epoch ")]
    assert 1 < len(lines) <= 40 and re.fullmatch(r"epoch 1 of \d+: loss \d\.\d+, held out \d+\.\d%", lines[0])


def test_the_progress_bar_stays_out_of_a_log(capfd):
    from tracetorch.demo.digits import Digits, Report, network, train

    images, labels = torch.rand(40, 8, 8), torch.arange(40) % 10
    train(network(), Digits(images, labels, images, labels), 2, Report())
    assert capfd.readouterr().err == ""

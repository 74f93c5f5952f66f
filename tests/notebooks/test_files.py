"""The notebooks as they are kept: run from top to bottom, nothing of the machine that ran them in them."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PLACES = re.compile(r"/(home|root|tmp|usr|opt|work|mnt|Users)/")


def test_there_are_six():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return json.loads(request.param.read_text())


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_cells_ran_once_in_order(notebook):
    assert [cell["execution_count"] for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))


def test_no_errors_and_no_warnings_in_outputs(notebook):
    for cell in code(notebook):
        for output in cell["outputs"]:
            assert output["output_type"] != "error", "".join(cell["source"])
            assert output.get("name") != "stderr", output["text"]


def test_nothing_of_the_machine(notebook):
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        for output in cell.get("outputs", []):
            data = {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}
            assert not PLACES.search(json.dumps([output.get("text"), data]))


def printed(number):
    """What the cells of a notebook have written, and the shares in per cent of images that it has told apart."""
    (path,) = [path for path in NOTEBOOKS if path.name.startswith(number)]
    text = "".join("".join(output.get("text", "")) for cell in code(json.loads(path.read_text()))
                   for output in cell["outputs"])
    return text, [float(share) for share in re.findall(r"accuracy on held-out images: ([\d.]+)%", text)]


def test_the_silent_network_learns_once_it_is_calibrated():
    _, (before, after) = printed("05")
    assert before < 15 and after > 93


def test_links_between_notebooks_lead_somewhere(notebook):
    names = {path.name for path in NOTEBOOKS}
    prose = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert set(re.findall(r"\]\(([^)]+\.ipynb)\)", prose)) <= names


def test_neurons_that_hear_each_other_learn_what_others_can_not():
    text, (alone, together) = printed("06")
    assert alone < 45 and together > 60
    assert text.count("True") == 2

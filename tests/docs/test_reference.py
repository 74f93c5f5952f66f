"""The generated reference: every public name has its section, with the formulas of its docstring."""

import fnmatch
import inspect
import re
import sys

import pytest

import tracetorch as tt
from tracetorch import nir, plot, testing
from tracetorch.layers.describe import recurrence

from .pages import ROOT


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import catalogue
        folder = tmp_path_factory.mktemp("reference")
        catalogue.write(folder)
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return {path.stem: path.read_text() for path in folder.glob("*.md")}


def section(page, name):
    """The text below a heading."""
    found = re.search(rf"^##+ {re.escape(name)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"no section {name}"
    return found[1]


def test_every_public_name_is_described(pages):
    described = set(re.findall(r"^##+ (?:tt\.)?([\w.]+)$", "\n".join(pages.values()), re.MULTILINE))
    assert set(tt.__all__) - {"snn", "functional", "fusion", "plot"} <= described
    assert set(tt.snn.__all__) - {"Layer"} <= described and "snn.Layer" in described


def test_stages_show_their_recurrence_parameters_and_states(pages):
    stages = [v for v in vars(tt).values() if isinstance(v, type) and issubclass(v, tt.Stage) and v is not tt.Stage]
    assert len(stages) >= 12
    for stage in stages:
        text = section(pages["stages"], stage.__name__)
        assert recurrence(stage()) in text
        assert all(f"`{name}`" in text for name in [*stage().parameters(), *stage().states()])


@pytest.mark.parametrize("name", [n for n in tt.snn.__all__ if n != "Layer"])
def test_neurons_show_the_recurrences_of_their_stages(pages, name):
    (text,) = [section(page, name) for page in pages.values() if re.search(rf"^## {name}$", page, re.MULTILINE)]
    cls = getattr(tt.snn, name)
    assert all(f"`{parameter}`" in text for parameter in cls.pipeline.parameters)
    assert all(line.strip() in text for stage in cls.stages for line in recurrence(stage).splitlines()[:1])


ROOMS = (tt, tt.snn, tt.functional, tt.stages, testing, nir, plot)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_argument_is_described(room):
    """Below "Args:", by name, in a list of names before a colon, or by a pattern such as `*_rank`."""
    missing = []
    for name in room.__all__:
        call = getattr(room, name)
        if callable(call) and getattr(call, "__module__", "").startswith("tracetorch"):
            told = re.findall(r"^ {4}([*\w]+(?:, [*\w]+)*): ", inspect.getdoc(call).partition("Args:")[2], re.MULTILINE)
            words = {"device", "dtype", "args", "kwargs"}.union(*(line.split(", ") for line in told))
            missing += [f"{name}: {argument}" for argument in inspect.signature(call).parameters
                        if not any(fnmatch.fnmatchcase(argument, word) for word in words)]
    assert not missing

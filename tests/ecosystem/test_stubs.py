"""The type stubs say what the composed classes really take."""

import importlib.util
from pathlib import Path


def test_stub_file_is_in_step_with_the_compositions():
    path = Path(__file__).parents[2] / "tools" / "stubs.py"
    spec = importlib.util.spec_from_file_location("stubs", path)
    stubs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stubs)
    assert stubs.PATH.read_text() == stubs.text(), "run: python tools/stubs.py"

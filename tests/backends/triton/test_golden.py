"""The recorded numbers, scanned by Triton's interpreter: one class per scenario, or with TRACETORCH_TESTS=all each."""

import pytest

import tracetorch as tt
from tests.golden.test_golden import MODES, check
from tests.support.golden import CASES, case_id

from .conftest import FULL

pytest.importorskip("triton", reason="Triton is an optional extra")
pytestmark = pytest.mark.triton

SCENARIOS = sorted({case["scenario"] for case in CASES})
SPREAD = ["DSRLITS", "LIB", "DSLIEMA", "RLITS", "DLIT", "SRLIB", "SLIT", "DRLIB", "SLI", "DSRLIT", "DLITS"]


def some():
    """One case of every scenario, and of every other class in turn."""
    chosen = []
    for k, scenario in enumerate(SCENARIOS):
        own = {case["class"]: case for case in CASES if case["scenario"] == scenario}
        wanted = [name for name in SPREAD[k % len(SPREAD):] + SPREAD if name in own]
        chosen.append(own[wanted[0]])
    return chosen


@pytest.mark.parametrize("case", CASES if FULL else some(), ids=case_id)
def test_scans_match_the_record(case, dtype):
    with tt.backend("triton"):
        check(case, dtype, MODES["scan"])


@pytest.mark.parametrize("mode", ["scan+scan", "step+scan", "scan+step"])
@pytest.mark.parametrize("name", [c["class"] for c in CASES if c["scenario"] == "a_default"] if FULL else ["SRLITS"])
def test_split_scans_match_the_record(name, dtype, mode):
    case = next(c for c in CASES if c["scenario"] == "g_random_state" and c["class"] == name)
    with tt.backend("triton"):
        check(case, dtype, MODES[mode])

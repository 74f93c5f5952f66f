"""Fixtures of the tests against other libraries."""

import pytest

from tests.docs.pages import run

from .page import PAGE, N


@pytest.fixture(scope="session")
def page():
    """The names that the code of the page defines."""
    return {**run(PAGE), "n": N}

"""The code in README.md and in every page of docs/ runs, and fails where the page says it fails."""

import pytest

from .pages import ROOT, blocks, run

PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if blocks(path)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page_runs(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run(path)

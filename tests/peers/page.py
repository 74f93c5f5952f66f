"""The tables of the migration page."""

import re
from dataclasses import dataclass

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "migration.md"
N = 16
"""The `n` of the page, in these tests."""
CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Row:
    """A row: the heading it stands under, what is written there and here, and what the last column says."""

    library: str
    there: str
    here: str
    differs: str = ""

    def __str__(self):
        return self.there.replace("`", "")


def rows(last):
    """Yield the rows of the tables whose last column has the title `last`."""
    library, title = "", ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            library = line[3:]
        if not line.startswith("|"):
            title = ""
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" |")]
        if not title:
            title = cells[-1]
        elif title == last and not line.startswith("|--"):
            yield Row(library, *cells)

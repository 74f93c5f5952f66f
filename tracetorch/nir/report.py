"""What became of each node or layer on its way from or to NIR, as a table."""

from __future__ import annotations

from dataclasses import dataclass, field

EXACT, RESCALED, REFUSED = "exact", "rescaled", "refused"


class Refused(Exception):
    """Why a node or a layer can't be said on the other side."""


@dataclass(frozen=True)
class Row:
    """One node or layer: its name and type, what it becomes, how, and what there is to say about it."""

    name: str
    kind: str
    becomes: str
    verdict: str
    note: str = ""


@dataclass
class Report:
    """Rows in the order of the graph; printing it shows a table.

    Attributes:
        rows: a `Row` for each node or layer; `verdict` is "exact" (the same numbers), "rescaled" (the same numbers, by
            a factor that stands elsewhere and is said) or "refused".
    """

    rows: list[Row] = field(default_factory=list)

    @property
    def refused(self) -> list[Row]:
        """The rows of what can't be said."""
        return [row for row in self.rows if row.verdict == REFUSED]

    def check(self, verb: str, what: str) -> None:
        """Raise ValueError with all that was refused."""
        if self.refused:
            lines = [f"{what} {row.name!r} ({row.kind}): {row.note}" for row in self.refused]
            raise ValueError(f"{verb}: {'; '.join(lines)}")

    def __str__(self) -> str:
        table = [("name", "type", "becomes", "verdict", "note")]
        table += [(row.name, row.kind, row.becomes, row.verdict, row.note) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in table]
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__

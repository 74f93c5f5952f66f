"""Rows of cells as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from textwrap import fill

NOTHING = "-"


def share(value: float | None) -> str:
    """Write a share in percent, with two digits that count: 42%, 4.2%, 0.42%."""
    if value is None:
        return NOTHING
    percent = 100 * value
    return f"{percent:.0f}%" if percent >= 9.95 or percent == 0 else f"{percent:.2g}%"


def number(value: float) -> str:
    """Write a count, or a mean of counts: 16,384 or 3.2."""
    return f"{value:,.0f}" if value >= 99.5 or value == int(value) else f"{value:.2g}"


def extent(span: tuple[float, float] | None) -> str:
    """Write a range: -1.2 to 3.4."""
    return NOTHING if span is None else f"{span[0]:.3g} to {span[1]:.3g}"


def text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in columns, the first one aligned to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    first, *rest = widths
    lines = ["  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], rest, strict=True))])
             for row in (head, *rows)]
    return "\n".join(lines)


def bullets(title: str, lines: Sequence[str]) -> str:
    """Return a title and a list below it."""
    return "\n".join([title, *(fill(line, 110, initial_indent="- ", subsequent_indent="  ") for line in lines)])


def html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its first column aligned to the left, the others to the right."""
    lines = [_row(row, "td") for row in rows]
    return f"<table>{_row(head, 'th')}{''.join(lines)}</table>"


def _row(cells: Sequence[str], tag: str) -> str:
    sides = ["left", *["right"] * (len(cells) - 1)]
    inner = "".join(f'<{tag} style="text-align:{side}">{escape(cell)}</{tag}>'
                    for side, cell in zip(sides, cells, strict=True))
    return f"<tr>{inner}</tr>"


def html_list(title: str, lines: Sequence[str]) -> str:
    """Return a title and a list below it."""
    return f"<p><b>{escape(title)}</b></p><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"

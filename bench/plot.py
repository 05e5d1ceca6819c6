"""The medians as bars, in one SVG: a panel for each column of the table, a bar for each server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from bench.report import BASE, Results, number
from bench.work import Metric

__all__ = ["plot"]

_WIDTH = 760
_NAMES = 190  # width of the servers' names
_FIGURES = 70  # width of the figures behind the bars
_ROW = 20
_TITLE = 30
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #222 }
.title { font-weight: 600 }
.bar { fill: #9aa5b1 }
.ours { fill: #2b6cb0 }
.page { fill: #fff }
"""


def plot(results: Results, servers: Mapping[str, str], columns: Sequence[Metric]) -> str:
    """Draw the medians.

    Args:
        results: the figures; a server without one has no bar.
        servers: names and titles of the bars, in their order.
        columns: the panels.

    Returns:
        An SVG document; a column that nobody has a figure of is left out.
    """
    parts: list[str] = []
    top = 0
    for column in columns:
        medians = {name: results.median(name, column.name) for name in servers}
        bars = {name: figure for name, figure in medians.items() if figure is not None}
        if bars:
            parts.append(_text(8, top + _TITLE - 10, column.title, "title"))
            parts += _bars(bars, servers, top + _TITLE)
            top += _TITLE + _ROW * len(bars) + 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img">'
    paper = f'<path class="page" d="M0 0H{_WIDTH}V{top}H0z"/>'  # legible on a dark page, too
    return "\n".join([head, f"<style>{_STYLE}</style>", paper, *parts, "</svg>"]) + "\n"


def _bars(bars: Mapping[str, float], titles: Mapping[str, str], top: int) -> list[str]:
    longest = max(bars.values()) or 1.0
    parts = []
    for row, (name, figure) in enumerate(bars.items()):
        y = top + row * _ROW
        width = max(1.0, figure / longest * (_WIDTH - _NAMES - _FIGURES))
        look = "bar ours" if name == BASE else "bar"
        parts.append(_text(8, y + 13, titles[name]))
        parts.append(f'<rect class="{look}" x="{_NAMES}" y="{y + 2}" width="{width:.1f}" height="{_ROW - 6}"/>')
        parts.append(_text(_NAMES + width + 6, y + 13, number(figure)))
    return parts


def _text(x: float, y: float, text: str, look: str = "") -> str:
    named = f' class="{look}"' if look else ""
    return f'<text x="{x:.1f}" y="{y}"{named}>{escape(text)}</text>'

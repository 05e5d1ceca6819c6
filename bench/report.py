"""Medians, ratios, the table and the bars. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.work import Metric

__all__ = ["BARS", "BUSY", "PER_CPU", "SHARE", "Bar", "Results", "bars_table", "judge", "ratio", "share", "table"]

BASE = "iotio"
"""The row that the others are compared with."""

PER_CPU = " per processor second"
"""Behind the name of a metric: divided by the share of its core that the server got. On a busy machine the rates say
how busy it was; these do not."""

SHARE = " share of its core"
"""Behind the name of a metric: how much of its core the server got."""

BUSY = 0.85
"""Servers that got less of their core, at the median, shared it with something else."""


class Results:
    """The figures of all rounds."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, str], dict[int, float]] = {}
        self.problems: dict[tuple[str, str], str] = {}

    def add(self, server: str, metric: str, round_number: int, figure: float) -> None:
        """Note a figure. The name of one that is per second of processor time ends with PER_CPU."""
        self._figures.setdefault((server, metric), {})[round_number] = figure

    def rounds(self, server: str, metric: str) -> Mapping[int, float]:
        """The figure of each round that has one."""
        return self._figures.get((server, metric), {})

    def median(self, server: str, metric: str) -> float | None:
        """The median of the rounds, None where there is no figure."""
        figures = self.rounds(server, metric)
        return median(figures.values()) if figures else None

    def as_dict(self) -> dict[str, dict[str, dict[str, object]]]:
        """All of it, for the JSON file: server, metric, median and rounds."""
        found: dict[str, dict[str, dict[str, object]]] = {}
        for (server, metric), rounds in self._figures.items():
            found.setdefault(server, {})[metric] = {
                "median": median(rounds.values()),
                "rounds": [rounds[number] for number in sorted(rounds)],
            }
        return found


def ratio(results: Results, metric: str, server: str, other: str) -> float | None:
    """How many times the other's figure: the median of the ratios within each round, None where there are none.

    Within a round both had the same machine; between rounds it may have been busy or hot.
    """
    mine, theirs = results.rounds(server, metric), results.rounds(other, metric)
    both = [mine[number] / theirs[number] for number in mine.keys() & theirs.keys() if theirs[number]]
    return median(both) if both else None


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that must be reached.

    Attributes:
        metric: which figure.
        server: whose.
        other: it is compared with this one's; "" takes the figure itself.
        bound: at least this for ratios, at most this for a figure itself.
    """

    metric: str
    server: str
    other: str
    bound: float


BARS = (
    Bar("echo-64x1", "iotio", "picows", 0.55),
    Bar("echo-64x1", "iotio", "iotio-0.4.10", 4),
    Bar("echo-64x1", "iotio", "python-socketio", 10),
    Bar("echo-64x1", "iotio", "node-socketio", 1.3),
    Bar("echo-1k", "iotio", "iotio-0.4.10", 12),
    Bar("echo-64x1", "iotio-def", "picows", 0.33),
    Bar("echo-64x16", "iotio-def", "picows", 0.5),
    Bar("echo-64x16", "iotio", "picows", 2),
    Bar("fanout-4", "iotio", "mosquitto", 4),
    Bar("fanout-4", "iotio", "node-socketio", 4),
    Bar("fanout-4", "iotio", "iotio-0.4.10", 6),
    Bar("echo-64x1", "iotio-v2", "iotio", 0.9),
    Bar("fanout-4", "iotio-v2", "iotio", 0.9),
    Bar("memory", "iotio", "", 14),
    Bar("connects", "iotio", "iotio-0.4.10", 2.5),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar and what was measured.

    Attributes:
        bar: the bar.
        measured: None where one of the two was not measured.
        per_cpu: the same by the processor time that the servers used, None where there is no such figure.
        verdict: "ok", "MISSED" or "not measured".
    """

    bar: Bar
    measured: float | None
    per_cpu: float | None
    verdict: str


def judge(results: Results, bars: Sequence[Bar] = BARS) -> list[Verdict]:
    """Compare the results with the bars."""
    verdicts = []
    for bar in bars:
        if bar.other:
            measured = ratio(results, bar.metric, bar.server, bar.other)
            reached = measured is not None and measured >= bar.bound
        else:
            measured = results.median(bar.server, bar.metric)
            reached = measured is not None and measured <= bar.bound
        verdict = "not measured" if measured is None else "ok" if reached else "MISSED"
        per_cpu = ratio(results, bar.metric + PER_CPU, bar.server, bar.other)
        verdicts.append(Verdict(bar, measured, per_cpu, verdict))
    return verdicts


def table(results: Results, servers: Mapping[str, str], columns: Sequence[Metric]) -> str:
    """The table, in Markdown: medians, and in brackets the ratio to the first row.

    Args:
        results: the figures.
        servers: names and titles of the rows.
        columns: the columns.
    """
    rows = [["server", *(metric.title for metric in columns)]]
    base = BASE if BASE in servers else next(iter(servers))
    for name, title in servers.items():
        rows.append([title, *(_cell(results, name, metric.name, base) for metric in columns)])
    return _markdown(rows)


def _cell(results: Results, server: str, metric: str, base: str) -> str:
    figure = results.median(server, metric)
    if figure is None:
        return "failed" if (server, metric) in results.problems else "-"
    text = number(figure)
    times = None if server == base else ratio(results, metric, server, base)
    return text if times is None else f"{text} ({times:.2f})"


def bars_table(verdicts: Sequence[Verdict], titles: Mapping[str, str], columns: Sequence[Metric]) -> str:
    """The bars, in Markdown."""
    names = {metric.name: metric.title for metric in columns}
    rows = [["figure", "of", "to", "bar", "measured", "by processor time", ""]]
    for verdict in verdicts:
        bar = verdict.bar
        rows.append(
            [
                names.get(bar.metric, bar.metric),
                titles.get(bar.server, bar.server),
                titles.get(bar.other, bar.other),
                f"{'at least' if bar.other else 'at most'} {bar.bound:g}",
                _digits(verdict.measured),
                _digits(verdict.per_cpu),
                verdict.verdict,
            ]
        )
    return _markdown(rows)


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def share(results: Results, servers: Sequence[str], columns: Sequence[Metric]) -> float | None:
    """How much of their core the servers got: the median over them and over the columns."""
    shares = [results.median(server, metric.name + SHARE) for server in servers for metric in columns]
    known = [figure for figure in shares if figure is not None]
    return median(known) if known else None


def number(figure: float) -> str:
    """A figure as people read it: three digits count."""
    if figure < 100:
        return f"{figure:.1f}"
    digits = max(0, len(str(int(figure))) - 3)
    return f"{round(figure, -digits):,.0f}".replace(",", " ")


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        first, *rest = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        return f"| {' | '.join(cells)} |"

    dashes = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(rows[0]), line(dashes), *map(line, rows[1:])])

"""Ratios, verdicts and the table of scripts/bench."""

from __future__ import annotations

import pytest

from bench.report import PER_CPU, SHARE, Bar, Results, bars_table, judge, number, ratio, share, table
from bench.work import Metric

ECHO = Metric("echo", "echo 64 x 1", "rate")
MEMORY = Metric("memory", "KiB/idle device", "kib_device", is_rate=False)


def results(**rows: dict[str, list[float]]) -> Results:
    """Results from figures by server and metric, one for each round."""
    found = Results()
    for server, metrics in rows.items():
        for metric, figures in metrics.items():
            for count, figure in enumerate(figures):
                found.add(server, metric, count, figure)
    return found


def test_the_median_of_the_rounds_counts() -> None:
    assert results(iotio={"echo": [1.0, 900.0, 30.0]}).median("iotio", "echo") == 30.0
    assert Results().median("iotio", "echo") is None


def test_a_ratio_compares_within_each_round() -> None:
    # Every round was slower than the one before, for both: the ratio is 2 in each.
    both = results(iotio={"echo": [100.0, 50.0, 10.0]}, other={"echo": [50.0, 25.0, 5.0]})
    assert ratio(both, "echo", "iotio", "other") == 2.0


def test_a_round_that_one_of_them_missed_does_not_count() -> None:
    found = results(iotio={"echo": [100.0, 50.0]})
    found.add("other", "echo", 1, 10.0)
    assert ratio(found, "echo", "iotio", "other") == 5.0
    assert ratio(found, "echo", "iotio", "absent") is None


@pytest.mark.parametrize(("figure", "verdict"), [(55.0, "ok"), (54.9, "MISSED")])
def test_a_ratio_must_reach_its_bar(figure: float, verdict: str) -> None:
    found = results(iotio={"echo": [figure]}, picows={"echo": [100.0]})
    assert [each.verdict for each in judge(found, [Bar("echo", "iotio", "picows", 0.55)])] == [verdict]


@pytest.mark.parametrize(("figure", "verdict"), [(14.0, "ok"), (14.1, "MISSED")])
def test_memory_must_stay_under_its_bar(figure: float, verdict: str) -> None:
    found = results(iotio={"memory": [figure]})
    assert [each.verdict for each in judge(found, [Bar("memory", "iotio", "", 14)])] == [verdict]


def test_a_bar_whose_peer_is_missing_is_not_reached() -> None:
    (verdict,) = judge(results(iotio={"echo": [1.0]}), [Bar("echo", "iotio", "picows", 0.55)])
    assert (verdict.measured, verdict.verdict) == (None, "not measured")


def test_processor_time_is_beside_the_measured_ratio() -> None:
    found = results(
        iotio={"echo": [50.0], "echo" + PER_CPU: [100.0]},
        picows={"echo": [100.0], "echo" + PER_CPU: [100.0]},
    )
    (verdict,) = judge(found, [Bar("echo", "iotio", "picows", 0.55)])
    assert (verdict.measured, verdict.per_cpu, verdict.verdict) == (0.5, 1.0, "MISSED")
    text = bars_table([verdict], {"iotio": "iotio, async def"}, [ECHO])
    assert text.splitlines()[-1] == (
        "| echo 64 x 1 | iotio, async def | picows | at least 0.55 |     0.50 |              1.00 | MISSED |"
    )


def test_the_share_of_the_core_is_that_of_the_servers_in_the_middle() -> None:
    found = results(iotio={"echo" + SHARE: [0.5]}, picows={"echo" + SHARE: [0.9]}, ws={"echo" + SHARE: [1.0]})
    assert share(found, ["iotio", "picows", "ws"], [ECHO]) == 0.9
    assert share(Results(), ["iotio"], [ECHO]) is None


def test_the_table_has_medians_and_ratios_to_our_row() -> None:
    found = results(
        iotio={"echo": [95_123.0], "memory": [9.0]},
        other={"echo": [19_024.0]},
    )
    found.problems["other", "memory"] = "2 refused"
    assert table(found, {"iotio": "iotio", "other": "iot.io 0.4.10"}, [ECHO, MEMORY]).splitlines() == [
        "| server        |   echo 64 x 1 | KiB/idle device |",
        "| ------------- | ------------: | --------------: |",
        "| iotio         |        95 100 |             9.0 |",
        "| iot.io 0.4.10 | 19 000 (0.20) |          failed |",
    ]


@pytest.mark.parametrize(
    ("figure", "text"), [(9.04, "9.0"), (123.4, "123"), (6_123.0, "6 120"), (2_556_000.0, "2 560 000")]
)
def test_figures_have_three_digits(figure: float, text: str) -> None:
    assert number(figure) == text

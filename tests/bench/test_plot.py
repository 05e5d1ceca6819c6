"""The plot of scripts/bench."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bench.plot import plot
from bench.report import Results

from .test_report import ECHO, MEMORY, results

SVG = "{http://www.w3.org/2000/svg}"
TITLES = {"iotio": "iotio <ours>", "other": "other", "absent": "absent"}


def drawn(found: Results) -> tuple[list[str], list[float]]:
    """Return the texts and the widths of the bars."""
    root = ET.fromstring(plot(found, TITLES, [ECHO, MEMORY]))
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    return texts, [float(element.attrib["width"]) for element in root.iter(f"{SVG}rect")]


def test_each_median_is_a_bar_beside_its_name_and_its_figure() -> None:
    texts, widths = drawn(results(iotio={"echo": [1000.0, 3000.0, 2000.0]}, other={"echo": [500.0]}))
    assert texts == ["echo 64 x 1", "iotio <ours>", "2 000", "other", "500"]
    assert widths[0] == pytest.approx(4 * widths[1])


def test_each_panel_has_its_own_scale() -> None:
    texts, widths = drawn(results(iotio={"echo": [1000.0], "memory": [10.0]}, other={"memory": [5.0]}))
    assert texts == ["echo 64 x 1", "iotio <ours>", "1 000", "KiB/idle device", "iotio <ours>", "10.0", "other", "5.0"]
    assert widths[0] == widths[1] == pytest.approx(2 * widths[2])


def test_without_figures_there_is_no_panel() -> None:
    assert drawn(Results()) == ([], [])
    assert drawn(results(iotio={"echo": [0.0]}))[1] == [1.0]

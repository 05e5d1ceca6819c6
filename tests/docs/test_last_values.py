"""The program of docs/how-to/last-values.md, with a device that reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from iotio_client import IoTClient
from scripts.tools.environments import ROOT
from scripts.tools.readme import blocks
from tests.support.hosts import eventually

PAGE = blocks(ROOT / "docs" / "how-to" / "last-values.md")
DECLARE, LOOK, *REST = [block.code for block in PAGE if block.language == "python"]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the program's names mean, after it has run; its manager serves."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "program"}
    for code in (DECLARE, *REST):
        exec(code, names)
    with closing(names["manager"]) as manager:
        names["port"] = manager.start()
        try:
            yield names
        finally:
            manager.stop()


@pytest.fixture
def room(program: dict[str, Any]) -> Iterator[IoTClient]:
    device = IoTClient("kitchen", "room")
    device.start(f"127.0.0.1:{program['port']}")
    try:
        device.wait_connected(5)
        yield device
    finally:
        device.stop()


def test_what_it_shows(program: dict[str, Any], room: IoTClient, capsys: pytest.CaptureFixture[str]) -> None:
    manager = program["manager"]
    device = manager.device("kitchen")
    minute_ago = datetime.now(UTC) - timedelta(minutes=1)
    device.report({"temperature": 19.5, "energy": 100.0}, minute_ago)
    for name, value in (("temperature", 21.5), ("energy", 100.5), ("open", True)):
        room.emit(name, value)
    eventually(lambda: device.state["open"].reported is True)
    exec(LOOK, program)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in printed] == [
        ["kitchen", "temperature", "21.5"],
        ["kitchen", "target", "None"],
        ["kitchen", "energy", "100.5"],
        ["kitchen", "open", "True"],
    ]
    assert not any(line.endswith("old") for line in printed if "target" not in line)

    found = program["app"].test_client().get("/chart/kitchen/temperature").json
    assert [(low, high) for _, low, _, high in found] in ([(19.5, 21.5)], [(19.5, 19.5), (21.5, 21.5)])
    assert program["app"].test_client().get("/chart/cellar/temperature").status_code == 404

    program["energy_of_each_day"]("kitchen")
    assert sum(float(line.split()[1]) for line in capsys.readouterr().out.splitlines()) == 0.5


def test_a_set_that_the_device_takes_and_one_that_it_does_not(
    program: dict[str, Any], room: IoTClient, capsys: pytest.CaptureFixture[str]
) -> None:
    program["night"]("kitchen")
    assert capsys.readouterr().out == "kitchen the device has no handler\n"


def test_the_alert(program: dict[str, Any], room: IoTClient, capsys: pytest.CaptureFixture[str]) -> None:
    room.emit("open", True)
    device = program["manager"].device("kitchen")
    eventually(lambda: device.state["open"].reported is True)
    program["tell_of_open_windows"]()
    assert capsys.readouterr().out == ""
    program["OPEN_FOR"] = timedelta(0)
    program["tell_of_open_windows"]()
    assert capsys.readouterr().out.startswith("kitchen: the window is open since ")

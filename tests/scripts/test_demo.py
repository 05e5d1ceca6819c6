"""The demo, with the environment of the tests in the place of its own."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest

from scripts.tools import demo, readme
from scripts.tools.environments import ROOT
from tests.support.processes import Program, free_port

HERE = (
    "import sys; from pathlib import Path; from scripts.tools import demo; "
    "demo.project_environment = lambda _: Path(sys.executable); sys.exit(demo.main(sys.argv[1:]))"
)


def run_demo(*arguments: str) -> Program:
    return Program([sys.executable, "-c", HERE, *arguments], folder=ROOT)


def test_once_shows_what_the_readme_shows_and_ends() -> None:
    port = free_port()
    with run_demo("--once", "--port", str(port)) as running:
        assert running.wait(60) == 0
        (picture,) = (block.code for block in readme.blocks(readme.README) if block.language == "text")
        assert len(picture.splitlines()) == 3
        assert set(picture.splitlines()) <= set(running.lines)  # of two programs: which is read first, nobody knows
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server still runs"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_goes_on_until_it_is_interrupted(number: signal.Signals) -> None:
    port = free_port()
    with run_demo("--port", str(port)) as running:
        running.wait_line("device | Answer from the server: hello number 2", timeout=60)
        running.signal(number)
        assert running.wait(60) == 0
        assert "Traceback" not in running.output
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server still runs"


def test_a_wanted_port_that_is_taken() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(demo.DemoError, match=f"port {port} is taken"):
            demo.choose_port(port)


def test_another_port_where_5000_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(readme, "QUICKSTART_PORT", port)
        assert demo.choose_port(None) not in (0, port)


def test_a_server_that_ends_is_status_1(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "project_environment", lambda _layer: Path(sys.executable))
    monkeypatch.setattr(readme, "quickstart", lambda _heading: "5000; raise SystemExit('no server')")
    assert demo.main(["--once", "--port", str(free_port())]) == 1
    said = capfd.readouterr()
    assert "server | no server" in said.out
    assert "the server ended before it listened" in said.err


def test_no_exchange_in_time_is_status_1(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    original = readme.quickstart
    mute = {readme.QUICKSTART_DEVICE: "5000; import time; time.sleep(60)"}
    monkeypatch.setattr(demo, "project_environment", lambda _layer: Path(sys.executable))
    monkeypatch.setattr(readme, "quickstart", lambda heading: mute.get(heading) or original(heading))
    assert demo.main(["--once", "--port", str(free_port()), "--timeout", "0.1"]) == 1
    assert "no message went there and back within 0 s" in capfd.readouterr().err

"""What `iotio run` logs, and how that is configured."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from iotio.cli.logs import JsonFormatter
from tests.load.harness import Device
from tests.support.hosts import eventually
from tests.support.processes import START_SECONDS

from .program import fails, get, iotio_run, port_of

REQUEST = re.compile(r'[-0-9]+ [:,0-9]+ INFO iotio\.access: 127\.0\.0\.1:\d+ - "GET /name HTTP/1\.1" 200')


def test_http_requests_are_logged(folder: Path) -> None:
    with iotio_run(folder, "server", "--port", "0") as server:
        get(port_of(server), "/name")
        assert REQUEST.fullmatch(server.wait_line("GET /name"))
        assert server.terminate() == 0
        assert "uvicorn" not in server.output


@pytest.mark.parametrize("option", ["--no-access-log", "--log-level=warning"])
def test_http_requests_are_not_logged(folder: Path, option: str) -> None:
    with iotio_run(folder, "server", "--port", "0", option) as server:
        get(port_of(server), "/name")
        assert server.terminate() == 0
        assert "GET" not in server.output


def test_of_very_many_requests_few_are_logged(folder: Path) -> None:
    with iotio_run(folder, "server", "--port", "0") as server:
        port = port_of(server)
        for _ in range(400):
            get(port, "/name")
        assert server.terminate() == 0
        assert "more like this)" in server.output
        assert server.output.count("GET") < 400


def test_lines_as_json(folder: Path) -> None:
    with iotio_run(folder, "server", "--port", "0", "--log-format", "json") as server:
        first = json.loads(server.wait_line("Serving ", START_SECONDS))
        assert first["logger"] == "iotio.server"
        with Device(int(re.findall(r":(\d+)", first["message"])[0]), "d"):
            server.wait_line("device 'd' connected")
        server.wait_line("device 'd' disconnected")
        assert server.terminate() == 0
        lines = [json.loads(line) for line in server.lines if not line.startswith("gone ")]
    assert {tuple(line) for line in lines} == {("time", "level", "logger", "message")}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first["time"])


def test_an_exception_is_in_the_object() -> None:
    try:
        raise ValueError("line\nline")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("a", logging.ERROR, "", 1, "it %s", ("fails",), info)
    (text,) = JsonFormatter().format(record).splitlines()
    assert json.loads(text)["message"] == "it fails"
    assert json.loads(text)["exception"].endswith("ValueError: line\nline")
    record.exc_text = "short"
    assert json.loads(JsonFormatter().format(record))["exception"] == "short"


JSON = {
    "version": 1,
    "formatters": {"mine": {"format": "mine %(message)s"}},
    "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "mine"}},
    "root": {"level": "INFO", "handlers": ["err"]},
}
INI = """
[loggers]
keys=root
[handlers]
keys=err
[formatters]
keys=mine
[logger_root]
level=INFO
handlers=err
[handler_err]
class=StreamHandler
args=()
formatter=mine
[formatter_mine]
format=mine %(message)s
"""


@pytest.mark.parametrize(("name", "text"), [("log.json", json.dumps(JSON)), ("log.ini", INI)])
def test_a_file_configures_all(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    with iotio_run(folder, "server", "--port", "0", "--log-config", name) as server:
        with Device(port_of(server), "d"):
            assert server.wait_line("device 'd' connected").startswith("mine ")
        eventually(lambda: "disconnected" in server.output)
        assert server.terminate() == 0


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("log.json", "{", "log.json cannot be used to configure logging: Expecting property name"),
        ("log.json", '{"version": 2}', "log.json cannot be used to configure logging: Unsupported version: 2"),
        ("log.ini", "", "log.ini cannot be used to configure logging: "),
    ],
)
def test_a_file_that_is_no_configuration(folder: Path, name: str, text: str, error: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    status, said = fails(folder, "server", "--log-config", name)
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith(f"Error: {error}")


@pytest.mark.parametrize("option", ["--log-level=info", "--log-format=json"])
def test_a_file_and_an_option_that_says_the_same(folder: Path, option: str) -> None:
    (folder / "log.json").write_text(json.dumps(JSON), encoding="utf-8")
    expected = (2, f"Error: --log-config and {option.partition('=')[0]} exclude each other: leave one out\n")
    assert fails(folder, "server", "--log-config", "log.json", option) == expected


def test_a_file_that_is_missing(folder: Path) -> None:
    status, said = fails(folder, "server", "--log-config", "nosuch")
    assert status == 2
    assert "File 'nosuch' does not exist" in said

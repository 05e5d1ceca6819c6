"""Each host says once where devices are served, and what it says of them is shown without a configuration."""

from __future__ import annotations

import logging
import re
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from iotio import DeviceType
from iotio.hosts.announce import announce
from tests.load.harness import Device
from tests.support.hosts import eventually
from tests.support.memory import make_manager
from tests.support.processes import START_SECONDS, Program, free_port, wait_until_listening


@pytest.mark.parametrize(
    ("types", "count"),
    [
        ([], "no device type yet, manager.add_type() adds one"),
        (["a"], "1 device type"),
        (["a", "b"], "2 device types"),
    ],
)
def test_the_line(types: list[str], count: str, caplog: pytest.LogCaptureFixture) -> None:
    manager = make_manager(*map(DeviceType, types))
    with caplog.at_level(logging.INFO, "iotio.server"):
        announce(manager, ["http://127.0.0.1:1", "http://[::1]:1"], "x/1")
    assert caplog.messages == [
        f"serving on http://127.0.0.1:1 and http://[::1]:1 by x/1; devices at the path /iot.io; {count}"
    ]


PROGRAM = """
import threading, time
from flask import Flask
from iotio import DeviceType, IoTManager
app = Flask("a")
manager = IoTManager(app)
class Plain(DeviceType):
    def on_ecko(self, message, client):
        return message
    def on_disconnect(self, client):
        threading.Thread(target=tell_when_gone).start()
def tell_when_gone():
    while manager.clients:
        time.sleep(0.001)
    print("nobody is here", flush=True)
manager.add_type(Plain("plain"))
"""
ENDS = {
    "run": "manager.run('127.0.0.1', {port})",
    "start": "manager.start(port={port})\nimport threading\nthreading.Event().wait()",
    "flask": "app.run(port={port})",
    "gevent": "from gevent import pywsgi\nfrom geventwebsocket.handler import WebSocketHandler\n"
    "pywsgi.WSGIServer(('127.0.0.1', {port}), app, handler_class=WebSocketHandler, log=None).serve_forever()",
    "uvicorn": "import uvicorn\nuvicorn.run(manager.asgi, port={port}, log_config=None)",
}


@pytest.mark.parametrize("host", ["run", "start", "flask", "gevent", "gunicorn", "uvicorn"])
def test_a_day_of_a_program_that_has_configured_nothing(host: str, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "program.py").write_text(PROGRAM + ENDS.get(host, "").format(port=port), encoding="utf-8")
    command = [sys.executable, "program.py"]
    if host == "gunicorn":
        command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "8"]
        command += ["--bind", f"127.0.0.1:{port}", "program:app"]
    with Program(command, folder=tmp_path) as server:
        wait_until_listening(port, server, START_SECONDS)
        with Device(port, "d", "plain") as device:
            device.send("echo", 1)
            server.wait_line("did you mean on_echo?")
        server.wait_line("nobody is here")  # its line in the log comes a moment before that
        with Device(port, "d", "plain"):
            server.wait_line("device 'd' came back")
            eventually(lambda: len(ours(server)) >= 5)
        assert status_of_a_page(port) == 404
        lines = ours(server)
    assert re.fullmatch(
        rf"INFO iotio.server: serving on http://(127.0.0.1|localhost):{port}( by [^;]+)?;"
        " devices at the path /iot.io; 1 device type",
        lines[0],
    ), lines
    assert re.fullmatch(
        r"INFO iotio.connection: device 'd' connected: type 'plain', protocol 1, from 127.0.0.1:\d+", lines[1]
    ), lines
    assert lines[2] == (
        "INFO iotio.connection: no handler of type 'plain' takes the event 'echo' of device 'd':"
        " on_ecko exists; did you mean on_echo?"
    )
    assert re.fullmatch(r"INFO iotio.connection: device 'd' disconnected after \d\.\d s: it.*", lines[3]), lines
    assert re.fullmatch(
        r"INFO iotio.connection: device 'd' came back after \d\.\d s: type 'plain', protocol 1, from 127.0.0.1:\d+",
        lines[4],
    ), lines
    assert [line for line in lines if "serving on" in line] == lines[:1], "a page is no reason to say it again"
    assert "uvicorn" not in server.output or host == "uvicorn"


def status_of_a_page(port: int) -> int:
    """Ask for a page that there is not."""
    connection = HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    with closing(connection):
        connection.request("GET", "/nothing")
        return connection.getresponse().status


def ours(server: Program) -> list[str]:
    """The lines of our loggers, without their times."""
    found = (re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+ iotio\..*)", line) for line in server.lines)
    return [one[1] for one in found if one is not None]

"""Each example runs as it stands but for its port, the servers with the devices that belong to them."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from iotio import DeviceType, IoTClient, IoTManager
from scripts.tools.readme import ROOT, on_port
from tests.support.processes import Program, free_port, python_program, wait_until_listening

EXAMPLES = ROOT / "examples"
WAIT_SECONDS = 10.0

Run = Callable[..., Program]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def run(tmp_path: Path, port: int) -> Iterator[Run]:
    """run("echo.py"): the example as a program; killed at the end."""
    with ExitStack() as stack:

        def run_one(name: str, **environment: str) -> Program:
            file = tmp_path / name
            file.write_text(on_port((EXAMPLES / name).read_text(encoding="utf-8"), port), encoding="utf-8")
            program = stack.enter_context(Program(python_program(file), environment=environment))
            if not name.startswith(("device_", "v2_")):
                wait_until_listening(port, program)
            return program

        yield run_one


def post(port: int, body: dict[str, Any], token: str | None = None) -> tuple[int, Any]:
    """Status and JSON of a POST to the REST interface."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection = HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
    try:
        connection.request("POST", "/api/iot.io", json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    is_json = response.headers.get_content_type() == "application/json"
    return response.status, json.loads(content) if is_json else None


def command(endpoint: str, data: object) -> dict[str, Any]:
    """A body for the lamp of the examples."""
    return {"clientId": "lamp_1", "endpointId": endpoint, "data": data}


def test_echo(run: Run) -> None:
    server = run("echo.py")
    device = run("device_echo.py")
    device.wait_line("connected; type something")
    device.send_line("good morning")
    server.wait_line("echo_device says 'good morning'")
    device.wait_line("the server answers 'good morning'")
    device.kill()
    server.wait_line("echo_device disconnected")


def test_endpoint_api(run: Run, port: int) -> None:
    server = run("endpoint_api.py")
    device = run("device_endpoints.py")
    server.wait_line("lamp_1 connected and takes: Power, Brightness, Label, Colour")
    for endpoint, value in (("power", False), ("brightness", 70), ("label", "hall"), ("colour", "Warm")):
        assert post(port, command(endpoint, value)) == (200, {"success": True})
        device.wait_line(f"{endpoint}: {value}")
        server.wait_line(f"lamp_1: {endpoint} = {value!r}")
    for endpoint, value, error in (
        ("power", "maybe", "invalid_data_type"),
        ("brightness", 101, "higher_than_max"),
        ("brightness", 75, "invalid_increment"),
        ("label", "<b>", "violates_deny_list"),
        ("colour", "warm", "invalid_enum_value"),
        ("heat", 1, "endpoint_not_defined_by_client"),
    ):
        assert post(port, command(endpoint, value)) == (400, {"success": False, "error": error})


def test_endpoint_api_with_auth(run: Run, port: int) -> None:
    run("endpoint_api_with_auth.py", TOKEN="secret")
    device = run("device_endpoints.py")
    for wrong in (None, "", "guess"):
        assert post(port, command("power", True), wrong)[0] == 401
    # The device is not awaited by a line of the server's: it prints none. 400 says that it is not there yet.
    answers = iter(lambda: post(port, command("power", True), "secret")[0], 200)
    assert set(answers) <= {400}
    device.wait_line("power: True")


def test_v2_by_hand(run: Run, port: int) -> None:
    connected: queue.Queue[IoTClient] = queue.Queue()

    class Sensor(DeviceType):
        def on_connect(self, client: IoTClient) -> None:
            connected.put(client)

    manager = IoTManager(Flask(__name__))
    manager.add_type(Sensor("sensor"))
    manager.start(port=port)
    try:
        device = run("v2_by_hand.py")
        client = connected.get(timeout=WAIT_SECONDS)
        client.emit("set", 5)
        device.wait_line("set to 5")
        assert client.call("set", [1.5, None], timeout=WAIT_SECONDS) is None
        device.wait_line("set to [1.5, None]")
        client.close()
        device.wait_line("the server says {'reason': 'removed'}")
        connected.get(timeout=WAIT_SECONDS)  # it comes again
    finally:
        manager.stop()


def test_all_examples_are_tested() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [file.name for file in EXAMPLES.glob("*.py") if f'"{file.name}"' not in source] == []

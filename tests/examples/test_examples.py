"""Each example runs as it stands but for its port, the servers with the devices that belong to them."""

from __future__ import annotations

import json
import queue
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from iotio import DeviceType, IoTClient, IoTManager
from iotio_client import IoTClient as Device
from scripts.tools.readme import ROOT, blocks, on_port
from tests.support.hosts import eventually
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
            program = stack.enter_context(Program(python_program(file), environment=environment, folder=tmp_path))
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


def ask(port: int, path: str, method: str = "GET") -> tuple[int, Any]:
    """Status and JSON of a request to one of the examples' own paths."""
    connection = HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


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


def test_presence(run: Run, port: int) -> None:
    server = run("presence.py")
    device = run("device_presence.py")
    server.wait_line("soil was offline and is online: connected")
    server.wait_line("soil measures 0.42")
    server.wait_line("soil was online and is sleeping: sleep")
    assert re.fullmatch(r"sleeping since \d\d:\d\d:\d\d", ask(port, "/")[1]["soil"])
    device.kill()
    run("device_presence.py")
    server.wait_line("soil was sleeping and is online: connected")


def test_calls(run: Run, port: int) -> None:
    server = run("calls.py")
    assert ask(port, "/temperature/hall") == (503, {"error": "the device is not there"})
    device = run("device_calls.py")
    device.wait_line("wanted: 21.5")
    server.wait_line("hall is told 21.5")
    assert ask(port, "/temperature/hall") == (200, {"celsius": 20.5})


def test_calls_that_fail(run: Run, port: int) -> None:
    run("calls.py")
    client = Device("hall", "thermostat")
    client.on("measure")(lambda message: message["samples"] / 0)
    with client.start(f"localhost:{port}"):
        client.wait_connected(WAIT_SECONDS)
        assert ask(port, "/temperature/hall") == (502, {"error": "ZeroDivisionError: division by zero"})
        assert client.call("wanted", {"window_open": True}) == 16.0


def test_durable(run: Run, port: int) -> None:
    server = run("durable.py")
    never_been_here = {"front": "no device of this id has ever been connected"}
    assert ask(port, "/locked", "POST") == (200, never_been_here)
    device = run("device_durable.py")
    device.send_line("Ada")
    opened = server.wait_line("front was opened by Ada at ")
    assert re.fullmatch(r"\d\d:\d\d:\d\d", opened.rpartition(" ")[2])
    assert ask(port, "/locked", "POST") == (200, {"front": "done"})
    device.wait_line("the door is locked")
    device.kill()
    server.wait_line("device 'front' disconnected")
    assert [ask(port, path, "POST") for path in ("/locked", "/unlocked")] == [(200, {"front": "queued"})] * 2
    device = run("device_durable.py")
    assert device.wait_line("the door is") == "the door is unlocked"  # the last one that waited
    server.kill()
    device.send_line("Bob")
    device.wait_line("messages that wait: 1")
    device.kill()
    server = run("durable.py")
    run("device_durable.py")
    server.wait_line("front was opened by Bob at ")


def test_store(run: Run, port: int) -> None:
    server = run("store.py")
    device = run("device_store.py")
    device.wait_line("messages that wait: ")
    eventually(lambda: ask(port, "/") == (200, {"kWh": {"main": 0.25}, "cellar": ["main"]}))
    device.kill()
    server.kill()
    run("store.py")
    assert ask(port, "/") == (200, {"kWh": {"main": 0.25}, "cellar": ["main"]})


def test_schedule(run: Run) -> None:
    server = run("schedule.py")
    device = run("device_schedule.py")
    server.wait_line("porch: report 1")
    device.wait_line("blink")
    server.wait_line("silent: []")
    assert server.terminate() == 0
    said = [line for line in server.lines if line.endswith("device")]
    assert said == ["before the first device", "behind the last device"]


def test_with_fastapi(run: Run, port: int) -> None:
    server = run("with_fastapi.py")
    assert ask(port, "/lamps") == (200, {})
    assert ask(port, "/lamps/lamp_1/brightness/70", "POST") == (503, {"detail": "device 'lamp_1' is not connected"})
    device = run("device_endpoints.py")
    server.wait_line("lamp_1 connected")
    assert ask(port, "/lamps/lamp_1/brightness/70", "POST") == (200, {"brightness": 70})
    device.wait_line("brightness: 70")
    status, answer = ask(port, "/lamps/lamp_1/brightness/75", "POST")
    assert (status, answer["detail"].rpartition(": ")[2]) == (422, "invalid_increment")
    assert ask(port, "/lamps") == (200, {"lamp_1": "online"})


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


def test_all_examples_are_listed_for_readers() -> None:
    page = (ROOT / "docs" / "reference" / "examples.md").read_text(encoding="utf-8")
    names = [file.relative_to(EXAMPLES).as_posix() for file in EXAMPLES.rglob("*.py")]
    assert [name for name in names if f"](../../examples/{name})" not in page] == []


def test_the_page_about_fastapi_shows_the_example() -> None:
    (shown,) = [one for one in blocks(ROOT / "docs" / "how-to" / "fastapi.md") if one.language == "python"]
    assert (EXAMPLES / "with_fastapi.py").read_text(encoding="utf-8").endswith(f"\n\n{shown.code}")

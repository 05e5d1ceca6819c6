"""What `iotio run` serves, how it ends, and what it says where it cannot."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import sys
import time
from pathlib import Path

import pytest
import trustme

from iotio_protocol import v1
from tests.load.harness import Device
from tests.support.processes import START_SECONDS, Program, free_port
from tests.support.quickstart import server_code
from tests.support.wire import Opcode, RawPeer, encode_frame, v1_headers

from .program import fails, get, iotio_run, port_of, told_to_go


@pytest.mark.parametrize(
    "target", ["server:manager", "server:app", "server", "server.py", "server.py:app", "./server.py"]
)
def test_devices_and_pages(folder: Path, target: str) -> None:
    with iotio_run(folder, target, "--port", "0", "--host", "127.0.0.1") as server:
        port = port_of(server)
        with Device(port, "d") as device:
            device.echo("x")
            assert get(port, "/name") == b"server"
            began = time.monotonic()
            server.signal(signal.SIGINT)
            told_to_go(device)
            assert server.wait() == 0
        assert time.monotonic() - began < 2
        lines = [line for line in server.lines if line.startswith("Serving")]
        named = target.removeprefix("./") if ":" in target else f"{target}:manager"
        assert lines == [
            f"Serving {named} (device types: plain) on http://127.0.0.1:{port},"
            " devices at the WebSocket path /iot.io; Ctrl-C ends it"
        ] or target.startswith("./")
        assert "gone d server_shutdown" in server.lines
        text = "INFO iotio.server: Ctrl-C: the server ends; connections to close: 1. A second one ends it at once"
        assert next(one for one in server.lines if "Ctrl-C: " in one).endswith(text)
        assert re.search(r"^[-0-9]+ [:,0-9]+ INFO iotio.connection: device 'd' connected", server.output, re.MULTILINE)
        assert "Traceback" not in server.output


def test_devices_alone(folder: Path) -> None:
    (folder / "bare.py").write_text(
        "from iotio import DeviceType, IoTManager\nmanager = IoTManager()\n"
        "class Plain(DeviceType):\n    def on_echo(self, message, client):\n        return message\n"
        "manager.add_type(Plain('plain'))\n"
    )
    with iotio_run(folder, "bare", "--port", "0") as server:
        port = port_of(server)
        with Device(port, "d") as device:
            device.echo("x")
        assert get(port, "/") == (
            b"There is nothing here: this server has devices only, at the WebSocket path /iot.io.\n"
        )


def test_the_quickstart_of_the_readme(tmp_path: Path) -> None:
    """Its `if __name__ == "__main__":` does not run, so gevent has no part in it."""
    (tmp_path / "server.py").write_text(server_code(), encoding="utf-8")
    with iotio_run(tmp_path, "server.py", "--port", "0") as server:
        port = port_of(server)
        with Device(port, "d", "echo") as device:
            device.send("message", "hello")
            assert device.packet() == ("message", "hello")
        assert f"http://localhost:{port}" in server.output
        server.wait_line("Message from Client with ID 'd': hello")
        server.wait_line("Echo Client Disconnected! ID: d")
        assert server.terminate() == 0


def test_the_options_of_the_server(folder: Path) -> None:
    (folder / "slow.py").write_text(
        "import time, flask\nfrom server import *\n"
        "def on_slow(self, message, client):\n    time.sleep(0.5)\n    return flask.request.headers['IoT-IO-Id']\n"
        "Plain.on_slow = on_slow\nmanager.add_type(Plain('slow'))\n"
    )
    options = ["--slow-handler", "0.1", "--threads", "2", "--request-context", "--log-level", "WARNING"]
    with iotio_run(folder, "slow", "--port", "0", *options) as server:
        with Device(port_of(server), "d", "slow") as device:
            device.send("slow", 1)
            assert device.packet() == ("slow", "d")
        server.wait_line("WARNING iotio.")
        assert " INFO " not in server.output


def test_a_program_keeps_its_own_logging(folder: Path) -> None:
    (folder / "logs.py").write_text(
        "import logging\nlogging.basicConfig(format='mine %(message)s', level=10)\nfrom server import *"
    )
    with iotio_run(folder, "logs", "--port", "0") as server:
        Device(port_of(server), "d").close()
        assert server.wait_line("device 'd' connected").startswith("mine ")


def test_tls(folder: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    (folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    files = ["--ssl-certfile", "chain.pem", "--ssl-keyfile", "key.pem"]
    with iotio_run(folder, "server", "--host", "localhost", "--port", "0", *files) as server:
        port = port_of(server)
        assert f"https://127.0.0.1:{port}" in server.output
        packet = v1.encode("echo", "x")
        with RawPeer("localhost", port, tls=context) as device:
            assert device.upgrade(headers=v1_headers("d", "plain")).status == 101
            device.send_binary(packet)
            assert device.expect_frame().payload == packet
        assert server.terminate() == 0


@pytest.mark.parametrize("reload", [[], ["--reload"]])
def test_a_unix_socket(folder: Path, reload: list[str]) -> None:
    path = folder / "socket"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))  # as a server leaves it that was killed
    left.close()
    with iotio_run(folder, "server", "--uds", path, *reload) as server:
        assert f" on the Unix socket {path}, " in server.wait_line("Serving ", START_SECONDS)
        with socket.socket(socket.AF_UNIX) as device:
            device.settimeout(5)
            device.connect(str(path))
            lines = "".join(f"{name}: {value}\r\n" for name, value in v1_headers("d", "plain"))
            packet = v1.encode("echo", "x")
            device.sendall(
                b"GET /iot.io HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                + lines.encode()
                + b"\r\n"
                + encode_frame(Opcode.BINARY, packet)
            )
            answer = b""
            while packet not in answer:
                answer += (more := device.recv(4096))
                assert more, answer
        status, error = fails(folder, "server", "--uds", path)
        assert (status, error) == (1, f"Error: the Unix socket {path} is in use; choose another with --uds\n")
        assert server.terminate() == 0


@pytest.mark.parametrize("reload", [[], ["--reload"]])
def test_a_second_signal_ends_it_at_once(folder: Path, reload: list[str]) -> None:
    (folder / "stuck.py").write_text(
        "import time\nfrom server import *\n"
        "def on_stuck(self, message, client):\n    client.emit('stuck', 'begins')\n    time.sleep(60)\n"
        "Plain.on_stuck = on_stuck\nmanager.add_type(Plain('stuck'))\n"
    )
    with (
        iotio_run(folder, "stuck", "--port", "0", *reload) as server,
        Device(port_of(server), "d", "stuck") as device,
    ):
        device.send("stuck", 1)
        assert device.packet() == ("stuck", "begins")
        server.signal(signal.SIGINT)
        assert device.expect_frame().close_code == 1001
        began = time.monotonic()
        server.signal(signal.SIGINT)
        assert server.wait(5) == 128 + signal.SIGINT
        assert time.monotonic() - began < 1
        device.rest(5)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["nosuch"], 1, "there is no module 'nosuch' in {folder}, nor among the installed packages"),
        (["nosuch.sub:x"], 1, "there is no module 'nosuch' in {folder}, nor among the installed packages"),
        (["json.nosuch"], 1, "there is no module 'json.nosuch' in {folder}, nor among the installed packages"),
        (["nosuch", "--reload"], 1, "there is no module 'nosuch' in {folder}, nor among the installed packages"),
        (["nosuch.py"], 1, "there is no file nosuch.py in {folder}"),
        (["a/b"], 2, "'a/b' is not of the form module:attribute or path/to/file.py:attribute"),
        (["server:"], 2, "'', after the colon of 'server:', is not the name of an attribute"),
        (["server:x()"], 1, "server has no attribute 'x'"),
        (["server:x()()"], 2, "'x()()', after the colon of 'server:x()()', is not the name of an attribute"),
        (["server:manger"], 1, "server has no attribute 'manger'; did you mean 'manager'?"),
        (["server:app.q"], 1, "server:app has no attribute 'q'"),
        (
            ["server:Plain"],
            1,
            "server:Plain is the class Plain, it must be an IoTManager or an application that has one",
        ),
        (
            ["none"],
            1,
            "none has no IoTManager under a name of its own, but app (a Flask application without an IoTManager),"
            " answer (an int); add manager = IoTManager(app), or name it: none:NAME",
        ),
        (["two"], 1, "two has several managers: one, two; say which, for example two:one"),
        (["server", "--uds", "x", "--port", "1"], 2, "--uds and --port exclude each other: leave one out"),
        (
            ["server", "--ssl-keyfile", "x"],
            2,
            "--ssl-keyfile needs --ssl-certfile, the certificate that the key is of",
        ),
        (["server", "--ssl-certfile", "x.pem"], 1, "the file x.pem does not exist; choose another with --ssl-certfile"),
        (
            ["server", "--ssl-certfile", "server.py"],
            1,
            "no certificate and key in PEM form in server.py; choose another with --ssl-certfile",
        ),
        (["server", "--uds", "server.py"], 1, "server.py exists and is no socket; choose another with --uds"),
        (
            ["server", "--host", "192.0.2.77"],
            1,
            "192.0.2.77 is no address of this machine; choose another with --host",
        ),
        (
            ["patched"],
            1,
            "gevent's monkey.patch_all() is in the way of this server: leave it out,"
            " or serve the program by gevent's pywsgi.WSGIServer",
        ),
    ],
)
def test_one_line_for_an_error(folder: Path, arguments: list[str], status: int, text: str) -> None:
    (folder / "none.py").write_text(
        "import flask, os\nfrom iotio import IoTManager\napp = flask.Flask('x')\nanswer = 42"
    )
    (folder / "two.py").write_text("from iotio import IoTManager\nfrom flask import Flask\n"
                                   "one, two = IoTManager(Flask('a')), IoTManager(Flask('b'))")  # fmt: skip
    (folder / "patched.py").write_text("from gevent import monkey\nmonkey.patch_all()\nfrom server import app")
    assert fails(folder, *arguments) == (status, f"Error: {text.format(folder=folder)}\n")


@pytest.mark.parametrize("reload", [[], ["--reload"]])
def test_a_port_in_use(folder: Path, reload: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = f"Error: port {port} is in use; choose another with --port\n"
        assert fails(folder, "server", "--port", str(port), *reload) == (1, text)


def test_manager_run_tells_port_0_and_a_port_in_use(folder: Path) -> None:
    (folder / "own.py").write_text(
        "import logging, sys\nfrom server import manager\n"
        "if 'log' in sys.argv:\n    logging.basicConfig(level=logging.INFO)\n"
        "manager.run('127.0.0.1', int(sys.argv[1]))\n"
    )
    with Program([sys.executable, "own.py", "0", "log"], folder=folder) as server:
        line = server.wait_line("INFO:iotio.server:serving on http://127.0.0.1:", START_SECONDS)
        assert line.endswith("; devices at the path /iot.io; 1 device type")
        port = int(line.partition(";")[0].rpartition(":")[2])
        with Device(port, "d") as device:
            device.echo("x")
        with Program([sys.executable, "own.py", str(port)], folder=folder) as second:
            assert second.wait(START_SECONDS) == 1
            assert second.lines[-1].endswith(f"CannotServe: port {port} is in use; choose another with port=")
            assert second.output.count("Traceback") == 1
        assert server.terminate() == 0


def test_a_bad_store_is_one_error_without_what_led_to_it(folder: Path) -> None:
    (folder / "stored.py").write_text("from iotio import IoTManager\nIoTManager(store='sqlite:///stored.py')")
    with Program([sys.executable, "stored.py"], folder=folder) as program:
        assert program.wait(START_SECONDS) == 1
        assert "stored.py cannot be opened: " in program.lines[-1]
        assert program.output.count("Traceback") == 1


def test_manager_run_says_where_it_serves_and_no_more(folder: Path) -> None:
    (folder / "own.py").write_text(
        "from server import manager\nmanager.run('127.0.0.1', int(__import__('sys').argv[1]))"
    )
    port = free_port()
    with Program([sys.executable, "own.py", str(port)], folder=folder) as server:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                RawPeer("127.0.0.1", port).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        assert server.terminate() == 0
        first, last = server.lines
        assert f" INFO iotio.server: serving on http://127.0.0.1:{port}; " in first
        assert last.endswith(
            " INFO iotio.server: SIGTERM: the server ends; connections to close: 0. A second one ends it at once"
        )

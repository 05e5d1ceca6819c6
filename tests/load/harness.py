"""What the load tests share: servers as subprocesses that answer questions about themselves, and devices."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import iotio
from iotio_protocol import v1
from iotio_protocol.values import Value
from tests.support.processes import START_SECONDS, Program, free_port, python_program, wait_until_listening
from tests.support.wire import Frame, Opcode, RawPeer, v1_headers

PRODUCT = Path(iotio.__file__).parent
"""What stands in every traceback that goes through the product."""

PROGRAMS = Path(__file__).parent / "programs"

HOSTS = ("native", "gevent", "patched", "flask")
"""Hosts of `programs/server.py`; "patched" is gevent with everything monkey-patched."""


class LoadServer(Program):
    """`programs/server.py` as a subprocess, listening when the constructor returns.

    Args:
        host: one of `HOSTS`, or "gunicorn" for its gthread worker.
        options: fields of `iotio.Options`.
    """

    def __init__(self, host: str, **options: float) -> None:
        settings = json.dumps(options)
        if host == "gunicorn":
            self.port = free_port()
            super().__init__(_gunicorn(self.port), environment={"IOTIO_LOAD": settings}, folder=PROGRAMS)
            wait_until_listening(self.port, self)
        else:
            super().__init__(python_program(PROGRAMS / "server.py", host, settings))
            self.port = int(self.wait_line("ready ", START_SECONDS).split()[1])

    def get(self, path: str) -> Any:
        """GET; the JSON of the answer."""
        return self._request("GET", path, None)

    def post(self, path: str, *, timeout: float = 60.0, **values: object) -> Any:
        """POST with a JSON object; the JSON of the answer."""
        return self._request("POST", path, values, timeout)

    def _request(self, method: str, path: str, values: Mapping[str, object] | None, timeout: float = 10.0) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            body = None if values is None else json.dumps(values)
            connection.request(method, path, body, {"Content-Type": "application/json", "Connection": "close"})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, (path, answer.status, text[:500])
            return json.loads(text)
        finally:
            connection.close()

    def stats(self) -> dict[str, Any]:
        """Its own figures."""
        found = self.get("/stats")
        assert isinstance(found, dict)
        return found

    def settle(self, accepts: Callable[[dict[str, Any]], bool], timeout: float = 15.0) -> dict[str, Any]:
        """The figures as soon as they are accepted.

        Raises:
            AssertionError: never within `timeout` seconds; the text holds the last ones.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = self.stats()
            if accepts(found):
                return found
            if time.monotonic() > deadline:
                found["errors"] = found["errors"][:3]
                raise AssertionError(f"not within {timeout} s: {found}\n{self.output[-4000:]}")
            time.sleep(0.05)  # there is nothing to wait on: the server is asked over HTTP

    def journal(self, client_id: str) -> list[str]:
        """What the life-cycle handlers of one device saw, in order."""
        return [what for _, what in self.get(f"/journal?id={client_id}")]

    def assert_quiet(self) -> None:
        """No ERROR in its log, no traceback in its output that has to do with iotio."""
        errors = self.stats()["errors"]
        assert errors == [], f"{len(errors)} errors, one of them: {errors[0]}"
        assert str(PRODUCT) not in self.output, self.output[-8000:]
        assert "Exception ignored" not in self.output, self.output[-8000:]


def _gunicorn(port: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "--worker-class=gthread",
        "--threads=32",
        "--workers=1",
        "--graceful-timeout=5",
        f"--bind=127.0.0.1:{port}",
        "server:create()",
    ]


class Device(RawPeer):
    """A v1 device that is connected when the constructor returns."""

    def __init__(self, port: int, client_id: str, client_type: str = "plain", *, timeout: float = 10.0) -> None:
        super().__init__("127.0.0.1", port, timeout=timeout)
        self.id = client_id
        try:
            status = self.upgrade(headers=v1_headers(client_id, client_type)).status
            assert status == 101, status
        except BaseException:
            self.close()
            raise

    def send(self, event: str, value: Value) -> None:
        """Send a packet."""
        self.send_binary(v1.encode(event, value))

    def packet(self, timeout: float | None = None) -> tuple[str, Value]:
        """The next packet; pings are answered on the way."""
        while True:
            frame = self.expect_frame(timeout)
            if frame.opcode == Opcode.PING:
                self.send_frame(Opcode.PONG, frame.payload)
                continue
            assert frame.opcode == Opcode.BINARY, frame
            return v1.decode(frame.payload)

    def echo(self, value: Value, timeout: float | None = None) -> float:
        """Have a value echoed. Returns the seconds it took."""
        began = time.perf_counter()
        self.send("echo", value)
        assert self.packet(timeout) == ("echo", value)
        return time.perf_counter() - began

    def rest(self, timeout: float | None = None) -> list[Frame]:
        """All frames up to the end of the stream; an end by RST is one too."""
        frames = []
        try:
            while (frame := self.recv_frame(timeout)) is not None:
                frames.append(frame)
        except ConnectionResetError:
            pass
        return frames


def report(name: str, **figures: object) -> None:
    """Print what was measured (`pytest -s`), and keep it where IOTIO_LOAD_REPORT says."""
    line = json.dumps({"test": name, **figures})
    print(line)
    file = os.environ.get("IOTIO_LOAD_REPORT")
    if file:
        with open(file, "a", encoding="utf-8") as report_file:
            report_file.write(line + "\n")

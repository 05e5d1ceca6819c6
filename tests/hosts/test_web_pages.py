"""Web pages of strangers, on every host: who is taken for one, and what they are told."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from iotio_protocol import v0, v1, v2
from tests.support.hosts import Host, host
from tests.support.v2 import PROTOCOL
from tests.support.wire import Frame, Opcode, v1_headers

__all__ = ["host"]  # the fixture

BROWSER = ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")


def first_frame(host: Host, version: int, *headers: tuple[str, str], name: str = "127.0.0.1") -> Frame:
    """What a device of a version is sent first: a CLOSE, or what it has asked for."""
    with host.peer() as peer:
        peer.host = name
        more = {0: [], 1: v1_headers("page", "echo"), 2: list(PROTOCOL)}[version]
        assert peer.upgrade(headers=[*headers, *more]).status == 101
        if version == 0:
            peer.send_text(v0.encode_handshake("page", "echo", {}))
            peer.send_text(v0.encode("same", "hi"))
        elif version == 1:
            peer.send_binary(v1.encode("same", "hi"))
        else:
            peer.send_binary(v2.encode_json(v2.HELLO, {"id": "page", "type": "echo"}))
        while True:
            frame = peer.expect_frame()
            if frame.opcode == Opcode.CLOSE or b"hi" in frame.payload or b"max_payload" in frame.payload:
                return frame


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("origin", ["null", "file://", "https://evil.example", "http://127.0.0.1:1"])
def test_a_page_of_another_host_is_closed(host: Host, version: int, origin: str) -> None:
    frame = first_frame(host, version, ("Origin", origin), BROWSER)
    assert frame.close_code == 1008
    assert version or frame.close_reason.startswith("origin_not_allowed")  # the others have said it in a packet before


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ("file://", "127.0.0.1"),
        ("https://github.com/gilmaimon/TinyWebsockets", "127.0.0.1"),
        ("http://127.0.0.1:5000", "backend"),
    ],
)
def test_libraries_may_say_what_they_say(host: Host, version: int, origin: str, name: str) -> None:
    assert first_frame(host, version, ("Origin", origin), name=name).opcode != Opcode.CLOSE


@pytest.mark.parametrize("version", [0, 2])
def test_a_page_of_our_own_is_let_in(host: Host, version: int) -> None:
    for name in ("127.0.0.1", "localhost", "pi.local"):
        frame = first_frame(host, version, ("Origin", f"http://{name}:{host.port}"), BROWSER, name=name)
        assert frame.opcode != Opcode.CLOSE


def test_one_that_has_its_own_name_lead_to_us_is_told_what_the_server_lacks(host: Host) -> None:
    with host.peer() as peer:
        peer.host = "evil.example"
        response = peer.upgrade(headers=[("Origin", f"http://evil.example:{host.port}"), BROWSER, *PROTOCOL])
        if response.status == 101:
            assert host.kind.startswith("gevent"), "whose handler answers before we see the request"
            problem = v2.decode(peer.expect_frame().payload)
            assert isinstance(problem, v2.Problem)
            assert (problem.error, problem.info) == ("origin_not_allowed", {"host": "evil.example"})
            assert peer.expect_frame().close_code == 1008
        else:
            assert response.status == 421
            assert response.body == b"If this server has that name: Options(allowed_hosts=['evil.example'])\n"


def test_a_program_may_call_us_what_it_likes(host: Host) -> None:
    assert first_frame(host, 2, name="evil.example").opcode != Opcode.CLOSE


def rest(host: Host, headers: dict[str, str]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=5)
    try:
        body = json.dumps({"clientId": "nobody", "endpointId": "e", "data": 1})
        connection.request("POST", "/api/iot.io", body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({}, 400, "client_not_connected"),
        ({"Host": "evil.example"}, 400, "client_not_connected"),
        ({"Origin": "null"}, 400, "client_not_connected"),
        ({"Cookie": "a=b"}, 400, "client_not_connected"),
        ({"Origin": "null", "Cookie": "a=b"}, 403, "origin_not_allowed"),
        ({"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
        ({"Origin": "http://evil.example", "Host": "evil.example", "Cookie": "a=b"}, 421, "host_not_allowed"),
        ({"Host": "evil.example", "Sec-Fetch-Site": "same-origin"}, 421, "host_not_allowed"),
    ],
)
def test_rest(host: Host, headers: dict[str, str], status: int, error: str) -> None:
    found, body = rest(host, headers)
    assert (found, body["error"]) == (status, error)
    if status == 421:
        assert "Options(allowed_hosts=['evil.example'])" in body["message"]

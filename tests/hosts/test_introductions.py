"""What a device says of itself, and how much that may be, on every host."""

from __future__ import annotations

import pytest

from iotio_protocol import v0, v2
from tests.support.hosts import Host, eventually, host
from tests.support.v2 import PROTOCOL
from tests.support.wire import Opcode, v1_headers

__all__ = ["host"]  # the fixture


def test_a_first_message_over_the_limit_is_closed(host: Host) -> None:
    with host.peer() as peer:
        assert peer.upgrade(headers=PROTOCOL).status == 101
        peer.send_binary(bytes(65537))
        assert peer.expect_frame().close_code == 1009


def test_and_where_we_read_the_frames_by_its_length_alone(host: Host) -> None:
    if host.kind == "asgi":
        pytest.skip("an ASGI server hands over whole messages")
    with host.peer() as peer:
        assert peer.upgrade(headers=PROTOCOL).status == 101
        peer.send_bytes(b"\x82\xff" + (65537).to_bytes(8, "big"))
        frame = peer.expect_frame()
        assert (frame.close_code, frame.close_reason) == (1009, "the first message may have 65536 bytes")


@pytest.mark.parametrize(
    ("fields", "code", "limit"),
    [
        ({"id": "i" * 257}, "client_no_id", "max_id"),
        ({"type": "t" * 257}, "client_invalid_type", "max_id"),
        ({"data": ["x"] * 5000}, "client_invalid_data", "max_data"),
    ],
)
def test_a_hello_with_too_much_in_it_is_refused(host: Host, fields: dict[str, object], code: str, limit: str) -> None:
    with host.peer() as peer:
        assert peer.upgrade(headers=PROTOCOL).status == 101
        peer.send_binary(v2.encode_json(v2.HELLO, {"id": "d", "type": "echo", **fields}))
        problem = v2.decode(peer.expect_frame().payload)
        assert isinstance(problem, v2.Problem)
        assert problem.error == code
        assert problem.info is not None
        assert problem.info["limit"] == limit
        assert peer.expect_frame().close_code == 1008


def test_so_are_headers_of_v1(host: Host) -> None:
    with host.peer() as peer:
        assert peer.upgrade(headers=v1_headers("i" * 257, "echo")).status == 101
        assert b'"limit": "max_id", "most": 256, "size": 257' in peer.expect_frame().payload
        assert peer.expect_frame().close_code == 1008


def test_and_a_handshake_of_v0(host: Host) -> None:
    with host.peer() as peer:
        assert peer.upgrade().status == 101
        peer.send_text(v0.encode_handshake("i" * 257, "echo", {}))
        frame = peer.expect_frame()
        assert frame.opcode == Opcode.CLOSE
        assert frame.close_reason == "client_no_id {'limit': 'max_id', 'most': 256, 'size': 257}"


NAMES = [
    "voil\u00e0",
    "\u00c5",
    "\u0441\u043c\u0435\u0445",
    "\u05e0\u05e0",
    "\u3000x\u2003",
    "t\u00e0\u00e0",
    "caf\u00e9",
]
"""Some end in 0x85 or 0xA0 in UTF-8, which latin-1 has for blanks; some begin or end in a blank of Unicode."""


@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive, Upgrade"])
@pytest.mark.parametrize("name", NAMES)
def test_an_id_in_a_header_keeps_its_first_and_last_letters(host: Host, name: str, connection: str) -> None:
    with host.peer() as peer:
        head = peer.request_bytes(headers=v1_headers(f" \t{name}\t ", "echo"))
        peer.send_bytes(head.replace(b"Connection: Upgrade", b"Connection: " + connection.encode()))
        assert peer.recv_response().status == 101
        eventually(lambda: name in host.state()["clients"])
    eventually(lambda: name not in host.state()["clients"])

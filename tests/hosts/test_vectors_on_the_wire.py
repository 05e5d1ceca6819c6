"""Every wire case of the vectors, over real sockets, on every host.

Where the original was right the expectation is what it did; where the vectors recommend something else, or we
decided otherwise, the tables below say so, each with its reason.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from iotio_protocol import v1
from iotio_protocol.errors import ErrorCode
from iotio_protocol.frames import FrameDecoder
from tests.protocol.vectors import load, revive
from tests.support.hosts import Host, LocalHost, eventually, host, local_host
from tests.support.wire import KEY, Frame, Opcode, RawPeer, encode_frame, v1_headers

__all__ = ["host", "local_host"]  # the fixtures

HANDSHAKES = load("v1_handshake.json")["cases"]
ERRORS = load("v1_errors.json")
ERROR_NAMES = {case["name"] for case in ERRORS["handshake_errors"]}
V0_SERVERS = load("v0_wire.json")["cases"]
V0 = V0_SERVERS["gen0_020"]  # answered in TEXT, the frames that we write too

_numbers = itertools.count()


def new_id(prefix: str = "w") -> str:
    """An id that no other test has."""
    return f"{prefix}{next(_numbers)}"


def packet(frame: Frame | None) -> tuple[str, Any]:
    """Event and value of a BINARY frame."""
    assert frame is not None
    assert frame.opcode == Opcode.BINARY, frame
    return v1.decode(frame.payload)


def echoes(peer: RawPeer, word: str = "still there") -> bool:
    """Whether the next thing that comes is the answer to an echo."""
    peer.send_binary(v1.encode("echo", word))
    return packet(peer.recv_frame()) == ("echo_response", word)


def say_goodbye(peer: RawPeer) -> None:
    """Close, as a device does."""
    peer.send_close(1000)
    assert [frame.close_code for frame in peer.recv_frames_until_eof()] == [1000]


def is_told(peer: RawPeer, error: bytes) -> None:
    """The error packet byte for byte."""
    first = peer.expect_frame()
    assert (first.opcode, first.payload) == (Opcode.BINARY, error)


def is_refused(peer: RawPeer, error: bytes) -> None:
    """The error packet byte for byte, then CLOSE 1008, then the end of TCP and nothing else."""
    is_told(peer, error)
    close = peer.expect_frame()
    assert (close.opcode, close.close_code) == (Opcode.CLOSE, 1008)
    peer.send_close(1008)
    assert peer.recv_all_until_eof() == b""


# The handshake of v1.

REFUSAL = "101, the original's error packet, CLOSE 1008; it wrote a raw HTTP 400 into the stream (S4)"
STRUCTURE = "the original raised: HTTP 500 and a traceback in the stream (S17)"

ACCEPTED = "accepted"
V0_DEVICE = "a v0 device"
NOTHING_THERE = "101 from the host, and the end"


@dataclass(frozen=True)
class Answer:
    """What we answer where it is not what 0.4.10 answered.

    `by` holds expectations of single hosts: an HTTP status, ACCEPTED, V0_DEVICE, NOTHING_THERE, or (code, info).
    """

    why: str
    all: Any = None
    by: dict[str, Any] | None = None

    def on(self, kind: str) -> Any:
        return (self.by or {}).get(kind, self.all)


GEVENT = ("gevent", "gevent-patched")


def by_gevent(answer: Any) -> dict[str, Any]:
    return dict.fromkeys(GEVENT, answer)


NO_ID = ("client_no_id", None)
MAX_ID = {"limit": "max_id", "most": 256}
NOT_A_LIST = ("client_invalid_endpoints", {"endpointId": "", "endpointProblem": "invalid_structure"})
NOT_A_DICT = ("client_invalid_endpoints", {"endpointId": "no_id_provided", "endpointProblem": "invalid_structure"})
EVERYWHERE = "gevent-websocket upgrades at every path; what the application answers then goes nowhere"
EXACT_PATH = "/iot.io is matched exactly, with or without a slash at its end; the rest is the application's (S34)"

NO_WEBSOCKET = {"asgi": 403}
"""What an ASGI server answers when the application closes before it has accepted."""

DIFFERENT = {
    "missing_all": Answer("no IoT-IO header at all: a v0 device, which introduces itself in a frame", V0_DEVICE),
    "gen0_style_no_headers_text": Answer("the same", V0_DEVICE),
    "empty_id": Answer("nobody could address a device without an id; recommended", NO_ID),
    "endpoints_dict": Answer(STRUCTURE, NOT_A_LIST),
    "endpoints_number": Answer(STRUCTURE, NOT_A_LIST),
    "endpoints_null": Answer(STRUCTURE, NOT_A_LIST),
    "endpoints_string": Answer(STRUCTURE, NOT_A_LIST),
    "endpoints_list_of_numbers": Answer(STRUCTURE, NOT_A_DICT),
    "endpoints_list_of_null": Answer(STRUCTURE, NOT_A_DICT),
    "endpoint_constraints_not_dict": Answer(
        STRUCTURE, ("client_invalid_endpoints", {"endpointId": "x", "endpointProblem": "invalid_structure"})
    ),
    "endpoint_invalid_type": Answer("it is float, which iot.io 0.4 did not have", ACCEPTED),
    "headers_lowercase": Answer("header names are case-insensitive (S14)", ACCEPTED),
    "headers_uppercase": Answer("header names are case-insensitive (S14)", ACCEPTED),
    "headers_title": Answer("header names are case-insensitive (S14)", ACCEPTED),
    "id_4000": Answer("an id may have `max_id` bytes", ("client_no_id", {**MAX_ID, "size": 4000})),
    "id_8100": Answer("the same", ("client_no_id", {**MAX_ID, "size": 8100})),
    "id_8192": Answer("the same", ("client_no_id", {**MAX_ID, "size": 8192})),
    "endpoints_8k": Answer("a header line may be longer than 8 KiB (S16)", ACCEPTED),
    "endpoints_overflow_60": Answer("a header line may be longer than 8 KiB (S16)", ACCEPTED),
    "plain_get": Answer("plain HTTP gets 426 and a sentence, where the original had 400", 426),
    "plain_post": Answer("plain HTTP gets 426 and a sentence, where the original had 400", 426),
    "ws_post": Answer("RFC 6455 4.1 has GET only: websockets insists on it", 405),
    "no_key": Answer("as the original; gevent-websocket's body is broken", 400),
    "bad_key": Answer("RFC 6455 4.2.1: the key has 16 bytes", 400),
    "version_12": Answer("the answer of websockets and of gevent-websocket, which 4.2.2 allows", 400),
    "version_8": Answer("a draft, which websockets does not speak; gevent-websocket does", 400, by_gevent(ACCEPTED)),
    "http10": Answer("as the original; gevent-websocket has an answer of its own", ACCEPTED, by_gevent(402)),
    "path_prefix_foo": Answer(EXACT_PATH, 404, {**by_gevent(NOTHING_THERE), **NO_WEBSOCKET}),
    "path_sub": Answer(EXACT_PATH, 404, {**by_gevent(NOTHING_THERE), **NO_WEBSOCKET}),
    "path_other": Answer(EVERYWHERE, 404, {**by_gevent(NOTHING_THERE), **NO_WEBSOCKET}),
    "path_api": Answer(
        f"no WebSocket route, says Werkzeug; uvicorn hands the upgrade over before Flask can see it. {EVERYWHERE}",
        400,
        {**by_gevent(NOTHING_THERE), **NO_WEBSOCKET, "native": 404},
    ),
    "deflate_offered": Answer("declined: no extension in the answer, frames are plain", ACCEPTED),
}

# What is the business of a foreign ASGI server, here uvicorn's.
LONG_LINE = "the parser of websockets takes header lines of 8192 bytes, unless WEBSOCKETS_MAX_LINE_LENGTH says more"
FOREIGN = {
    "id_8192": LONG_LINE,
    "endpoints_overflow_60": LONG_LINE,
    "close_empty": "its answer is an empty CLOSE too",
    "close_bad_utf8_reason": "its answer is CLOSE 1007",
    "handler_blocks_then_fin": "a FIN ends the connection at once",
}


def leave_to_foreign_server(host: Host, name: str) -> None:
    if host.kind == "asgi" and name in FOREIGN:
        pytest.skip(FOREIGN[name])


# A WSGI environ has one value for each name, and these servers join repeated headers (RFC 9110 5.3).
FOLDED = {"flask": "dev1,second", "gunicorn": "dev1,second"}

ALL_HEADERS = [
    ("IoT-IO-Id", "dev1"),
    ("IoT-IO-Type", "echo"),
    ("IoT-IO-Data", "{}"),
    ("IoT-IO-Endpoints", "[]"),
    ("IoT-IO-ProtocolVersion", "1"),
]


def with_header(name: str, value: str) -> list[tuple[str, str]]:
    return [(one, value if one == name else old) for one, old in ALL_HEADERS]


def integer_endpoints(count: int) -> str:
    constraints = {"min": 0, "max": 100, "increment": 1}
    return json.dumps(
        [
            {
                "id": f"endpoint_{n}",
                "name": f"Endpoint number {n}",
                "type": "integer",
                "specialId": None,
                "constraints": constraints,
            }
            for n in range(count)
        ]
    )


# Requests that the vectors give by their size only, and those of error packets that have no request of their own.
BUILT = {
    "id_8100": with_header("IoT-IO-Id", "x" * 8100),
    "id_8192": with_header("IoT-IO-Id", "x" * 8192),
    "endpoints_8k": with_header("IoT-IO-Endpoints", " " * 8300 + "[]"),
    "endpoints_overflow_60": with_header("IoT-IO-Endpoints", integer_endpoints(60)),
    "empty_version": with_header("IoT-IO-ProtocolVersion", ""),
    "version_01": with_header("IoT-IO-ProtocolVersion", "01"),
    "version_1.0": with_header("IoT-IO-ProtocolVersion", "1.0"),
    "version_10": with_header("IoT-IO-ProtocolVersion", "10"),
    "version_1c_1": with_header("IoT-IO-ProtocolVersion", "1, 1"),
    "bad_version_and_unknown_type": [
        *with_header("IoT-IO-Type", "nosuch")[:-1],
        ("IoT-IO-ProtocolVersion", "2"),
    ],
    "endpoint_both_lists": with_header(
        "IoT-IO-Endpoints",
        '[{"id":"x","name":"n","type":"string","constraints":{"allowList":"a","denyList":"b"}}]',
    ),
    "headers_title": [(name.title(), value) for name, value in ALL_HEADERS],
}


def headers_of(name: str, request: dict[str, Any]) -> list[tuple[str, str]]:
    return BUILT.get(name) or [(one, value) for one, value in request["headers"]]


def request_bytes(name: str, request: dict[str, Any]) -> bytes:
    """The request of a case, byte for byte."""
    options = request["options"]
    lines = [f"{request['method']} {request['path']} {options.get('httpv', 'HTTP/1.1')}", "Host: 127.0.0.1"]
    if request["websocket"]:
        lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Version: {options.get('version', 13)}"]
        key = options.get("key", KEY)
        lines += [f"Sec-WebSocket-Key: {key}"] if key is not None else []
    if request["method"] == "POST":
        lines.append("Content-Length: 0")
    lines += [f"{one}: {value}" for one, value in headers_of(name, request)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def expected_answer(case: dict[str, Any], kind: str) -> Any:
    """What this host has to answer."""
    different = DIFFERENT.get(case["name"])
    if different is not None:
        return different.on(kind)
    outcome = case["outcome_0.4.10"]
    if outcome["status"] != 101:
        return outcome["status"]
    if outcome["packets"]:
        value = outcome["packets"][0]["value"]
        return value["error"], value["info"]
    return ACCEPTED


@pytest.mark.parametrize("case", HANDSHAKES, ids=lambda case: case["name"])
def test_handshake(host: Host, case: dict[str, Any]) -> None:
    leave_to_foreign_server(host, case["name"])
    expected = expected_answer(case, host.kind)
    with host.peer() as peer:
        peer.send_bytes(request_bytes(case["name"], case["request"]))
        if isinstance(expected, int):
            assert http_status(peer) == expected
            return
        response = peer.recv_response()
        if expected == NOTHING_THERE:
            assert response.status == 101
            assert [frame.opcode for frame in peer.recv_frames_until_eof()] == [Opcode.CLOSE]
            return
        assert (response.status, response.headers.get("sec-websocket-extensions")) == (101, None)
        if expected == V0_DEVICE:
            peer.send_bytes(bytes.fromhex(case.get("bytes_after_headers_hex", "")) or V0_HELLO)
            peer.send_text('[/"echo"/][/"5"/]')
            assert peer.expect_frame().payload == b'[/"echo"/][/"5"/]'
        elif expected == ACCEPTED:
            assert echoes(peer), "nothing comes before what the device asks for"
            peer.send_binary(v1.encode("info", "x"))
            seen = packet(peer.recv_frame())[1]
            if (known := case.get("client_data_seen")) is not None:
                known_id = FOLDED.get(host.kind, known["id"]) if case["name"] == "dup_id_header" else known["id"]
                assert (known_id, known["type"], known["data"]) == (seen["id"], seen["type"], seen["data"])
            say_goodbye(peer)
        else:
            # What follows is held back for a while: where test_error_packets_of_refusals waits for it, this does not.
            is_checked = is_told if case["name"] in ERROR_NAMES else is_refused
            is_checked(peer, v1.error_packet(ErrorCode(expected[0]), expected[1]))


def http_status(peer: RawPeer) -> int:
    """The status of an answer; not all that gevent-websocket sends behind it is HTTP."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += (more := peer.socket.recv(4096))
        assert more, data
    assert b"Traceback" not in data
    return int(data.split(b" ", 2)[1])


V0_HELLO = encode_frame(Opcode.TEXT, b'[/"v0"/][/"echo"/][/"{}"/]')


AT_ONCE = 15  # refused devices, which wait for their CLOSE frames together; gunicorn has 40 threads here


REFUSED = [case for case in ERRORS["handshake_errors"] if case["name"] not in DIFFERENT]
LET_IN = [case for case in ERRORS["handshake_errors"] if case["name"] in DIFFERENT]


@pytest.mark.parametrize("first", range(0, len(REFUSED), AT_ONCE))
def test_error_packets_of_refusals(host: Host, first: int) -> None:
    """The bytes of each error packet, and what follows it."""
    with ExitStack() as stack:
        waiting = []
        for case in REFUSED[first : first + AT_ONCE]:
            peer = stack.enter_context(host.peer())
            assert peer.upgrade(headers=headers_that_err(case["name"])).status == 101
            waiting.append((case, peer))
        for case, peer in waiting:
            try:
                is_refused(peer, bytes.fromhex(case["error_packet_hex"][0]))
            except BaseException as error:
                error.add_note(f"in the case {case['name']}")
                raise


@pytest.mark.parametrize("case", LET_IN, ids=lambda case: case["name"])
def test_no_error_packet_where_we_let_in(host: Host, case: dict[str, Any]) -> None:
    expected = DIFFERENT[case["name"]].on(host.kind)
    assert expected in (ACCEPTED, V0_DEVICE)
    with host.peer() as peer:
        assert peer.upgrade(headers=headers_that_err(case["name"])).status == 101
        peer.send_bytes(V0_HELLO if expected == V0_DEVICE else b"")
        peer.send_frame(Opcode.PING, b"?")
        assert peer.expect_frame() == Frame(True, 0, Opcode.PONG, b"?")


def headers_that_err(name: str) -> list[tuple[str, str]]:
    """Those that the error packet of this case answers."""
    request = next((one["request"] for one in HANDSHAKES if one["name"] == name), None)
    if request is None:
        assert name in BUILT, "the request of this error is not known"
        request = {"headers": []}
    return headers_of(name, request)


def test_every_difference_of_the_handshake_is_used() -> None:
    names = {case["name"] for case in HANDSHAKES} | ERROR_NAMES
    assert set(DIFFERENT) - names == set()


def test_plain_http_is_told_what_is_here(host: Host) -> None:
    status, body = host.request("GET", "/iot.io")
    assert status == 426
    assert b"iot.io devices connect by WebSocket" in body


# What happens at run time.

IDS = {"on_connect_emits": "c126", "on_connect_joins": "c136"}
DATA: dict[str, Any] = {
    "on_connect_raises": {"raise": True},
    "on_connect_emits": {"greet": True},
    "on_connect_joins": {"join": "lobby"},
}
LARGE = {
    "echo_string_64k": encode_frame(Opcode.BINARY, v1.encode("echo", "x" * 65536)),
    "echo_binary_1m": encode_frame(Opcode.BINARY, v1.encode("echo", b"BBBB" * 262144)),
}
ANSWERED = "answered with client_invalid_packet, the connection lives on (S5, S28)"

# Packets that come where the vectors have others. None: the error packet client_invalid_packet.
OTHER_PACKETS: dict[str, tuple[list[Any], str]] = {
    "handler_nan": ([], "NaN is not JSON: the answer is refused with an EncodeError in the log (S28)"),
    "int_4_bytes": ([("echo_response", 42)], "v1_packets_decode recommends to take integers of any width up to 8"),
    "room_client_join_leave": ([("joined", ["r1"]), ("left", [])], "client.leave always raised (S9)"),
    "room_ctx_leave_never_joined": ([("left", [])], "leaving a room one is not in raised (S10)"),
    "room_client_leave_never_joined": ([("left", [])], "leaving a room one is not in raised (S10)"),
    "rsv2": ([], "RSV bits are refused without an extension (RFC 6455 5.2); the original took RSV2 and RSV3"),
}
# Close codes where the vectors have others, as they recommend.
OTHER_CLOSES: dict[str, tuple[list[int], str]] = {
    "close_1012": ([1012], "registered with IANA since"),
    "close_1014": ([1014], "registered with IANA since"),
    "rsv2": ([1002], "see OTHER_PACKETS"),
    "text_bad_utf8": ([1007], "RFC 6455 8.1"),
    "len_msb_set": ([1009], "more than any limit"),
}
NO_CLOSE_FRAME = "after the peer's FIN nobody need be told; the original wrote an empty CLOSE frame"
LIVES_ON = ("log the exception", "log it", "error packet", "ignore or answer", "no exception")


def expected_packets(case: dict[str, Any]) -> list[Any]:
    """Event and value of each packet; None for the error packet."""
    if case["name"] in OTHER_PACKETS:
        return OTHER_PACKETS[case["name"]][0]
    if case["group"] == "malformed":
        return [None]
    if case["name"] in LARGE:
        value: Any = "x" * 65536 if case["name"] == "echo_string_64k" else b"BBBB" * 262144
        return [("echo_response", value)]
    packets = case["outcome_0.4.10"]["packets"] or []
    return [(one["event"], revive_value(one["value"])) for one in packets]


def revive_value(value: Any) -> Any:
    return revive({"$b64": value["b64"]}) if isinstance(value, dict) and set(value) == {"b64"} else revive(value)


def expected_closes(case: dict[str, Any]) -> list[int]:
    if case["name"] in OTHER_CLOSES:
        return OTHER_CLOSES[case["name"]][0]
    return [one["code"] for one in case["outcome_0.4.10"]["close"] if one["code"] is not None]  # NO_CLOSE_FRAME


def ends(case: dict[str, Any]) -> bool:
    """Whether the connection is over afterwards."""
    return bool(expected_closes(case)) or case["group"] == "abrupt" or case["name"] == "half_frame_then_fin"


@pytest.mark.parametrize("case", ERRORS["runtime"], ids=lambda case: case["name"])
def test_runtime(host: Host, case: dict[str, Any]) -> None:
    name = case["name"]
    leave_to_foreign_server(host, name)
    client_id = IDS.get(name) or new_id()
    client_id = client_id if host.log.of(client_id) == [] else f"{client_id}-again"
    with host.peer() as peer:
        assert peer.upgrade(headers=v1_headers(client_id, "echo", DATA.get(name))).status == 101
        send(peer, case)
        packets: list[Any] = []
        for _ in expected_packets(case):
            pongs: list[bytes] = []
            frame = next_data_frame(peer, pongs)
            assert pongs == [bytes.fromhex(one) for one in case["outcome_0.4.10"]["pongs"]][: len(pongs)]
            packets.append(packet(frame))
        assert [one for one in packets if one[0] != "error"] == [
            one for one in expected_packets(case) if one is not None
        ]
        if case["group"] == "malformed":
            assert [one[1]["error"] for one in packets if one[0] == "error"] in ([], ["client_invalid_packet"])
        if name == "rst":
            host.log.wait(client_id, "mgr_on_connect")
            peer.reset()
        elif ends(case):
            closes = [frame for frame in peer.recv_frames_until_eof() if frame.opcode != Opcode.PONG]
            assert [frame.close_code for frame in closes] == expected_closes(case)
        else:
            assert echoes(peer)
            say_goodbye(peer)
    seen = host.log.wait(client_id, "mgr_on_disconnect")
    assert [seen.count(one) for one in ("on_connect", "mgr_on_connect", "on_disconnect")] == [1, 1, 1]
    if case["recommended"] == "same" and name not in OTHER_PACKETS:
        assert handler_events(seen, not ends(case)) == case["outcome_0.4.10"]["handler_events"]
    eventually(lambda: client_id not in host.state()["clients"])  # right behind its on_disconnect
    assert host.state()["rooms"] == {}


def send(peer: RawPeer, case: dict[str, Any]) -> None:
    """What the device of the case sends, the way it does."""
    data = LARGE.get(case["name"]) or bytes.fromhex(case["sent_hex"] or "")
    if case["name"] == "byte_by_byte":
        for byte in data:
            peer.send_bytes(bytes([byte]))
    else:
        peer.send_bytes(data)
    if case["name"] in ("fin_no_close", "half_frame_then_fin", "handler_blocks_then_fin"):
        peer.half_close()


def next_data_frame(peer: RawPeer, pongs: list[bytes]) -> Frame:
    while (frame := peer.expect_frame()).opcode == Opcode.PONG:
        pongs.append(frame.payload)
    return frame


def handler_events(seen: list[str], extra_echo: bool) -> list[str]:
    """What the study recorded: without our own echo at the end, and without values and reasons."""
    events = [one for one in seen if not one.startswith(("update:", "reason:"))]
    if extra_echo:
        last = len(events) - 1 - events[::-1].index("echo")
        del events[last : last + 2]  # the handler and its on_update
    return events


def test_nothing_of_ours_is_in_the_error_log_of_a_host(local_host: LocalHost) -> None:
    """Handlers that raise are logged by us; what reaches the host is a defect."""
    for client_id, event in (("err-1", "raise"), ("err-2", "bigint"), ("err-3", "attrerr")):
        with local_host.peer() as peer:
            assert peer.upgrade(headers=v1_headers(client_id, "echo")).status == 101
            peer.send_binary(v1.encode(event, "m"))
            assert echoes(peer)
            peer.reset()
        local_host.log.wait(client_id, "mgr_on_disconnect")
    assert local_host.errors == ""


def test_a_reset_right_behind_the_upgrade(local_host: LocalHost) -> None:
    """Whether the device was seen at all depends on who is quicker; what was begun is ended."""
    for number in range(20):
        client_id = f"hasty-{number}"
        with local_host.peer() as peer:
            assert peer.upgrade(headers=v1_headers(client_id, "echo")).status == 101
            peer.reset()
        eventually(lambda: local_host.manager.connections.all() == [])
        seen = local_host.log.of(client_id)
        assert seen.count("on_connect") == seen.count("on_disconnect")
        assert local_host.manager.clients == []
    assert local_host.errors == ""


# Takeover, rooms, emit, calls of the manager.


def connect(host: Host, client_id: str, client_type: str = "echo", data: Any = None) -> RawPeer:
    before = host.log.of(client_id).count("mgr_on_connect")
    peer = host.peer()
    assert peer.upgrade(headers=v1_headers(client_id, client_type, data)).status == 101
    host.log.wait(client_id, "mgr_on_connect", before + 1)
    return peer


def test_id_takeover(host: Host) -> None:
    """v1_errors.json id_takeover, mended (S2): the old socket is told and ended, the new one stays."""
    client_id = new_id("dup")
    with connect(host, client_id) as old, host.peer() as new:
        assert new.upgrade(headers=v1_headers(client_id, "echo")).status == 101
        seen = host.log.wait(client_id, "mgr_on_connect", 2)
        assert [one for one in seen if not one.startswith("update")] == [
            "on_connect",
            "mgr_on_connect",
            "on_disconnect",
            "reason:takeover",
            "mgr_on_disconnect",
            "on_connect",
            "mgr_on_connect",
        ]
        close = old.expect_frame()
        assert (close.opcode, close.close_code) == (Opcode.CLOSE, 1008)
        old.send_close(1008)
        assert old.recv_frame() is None
        assert echoes(new, "from-new")
        assert host.call("emit", "push", "x", client_id=client_id)["r"]["sent"] == 1
        assert packet(new.recv_frame()) == ("push", "x")
        assert host.state()["clients"].count(client_id) == 1
        say_goodbye(new)
    assert host.log.wait(client_id, "mgr_on_disconnect", 2).count("on_disconnect") == 2


def test_room_poisoning(host: Host) -> None:
    """v1_errors.json room_poisoning, mended (S1): a room is nobody's business but its members'."""
    a, b, c = new_id("A"), new_id("B"), new_id("C")
    with connect(host, a, data={"join": "lobby"}) as in_room:
        for _ in range(2):
            with connect(host, b) as peer:
                assert echoes(peer)
                say_goodbye(peer)
            host.log.wait(b, "mgr_on_disconnect", host.log.of(b).count("on_connect"))
            eventually(lambda: host.state()["clients"] == [a])
        assert host.state()["rooms"] == {"lobby": [a]}
        say_goodbye(in_room)
    host.log.wait(a, "mgr_on_disconnect")
    eventually(lambda: host.state()["clients"] == [])
    with connect(host, c) as peer:
        assert host.call("emit", "ev", 1, client_type="echo")["r"] == {"sent": 1, "offline": [], "dropped": {}}
        assert packet(peer.recv_frame()) == ("ev", 1)
    host.log.wait(c, "mgr_on_disconnect")
    eventually(lambda: host.state() == {"clients": [], "rooms": {}, "sockets": 0})


DATA_OF = {
    "data_int": -3,
    "data_bool": True,
    "data_none": None,
    "data_float": 1.5,
    "data_list": [1],
    "data_bytes": {"$b64": "AAE="},
}
RAISES = {
    "data_none": ("EncodeError", "a ValueError that names the type; the original failed to build its TypeError (S27)"),
    "data_float": ("EncodeError", "the same"),
    "data_event_int": ("TypeError", "as the original, with a message that says what is wrong"),
    "no_target": ("ValueError", "as the original, whose words it begins with"),
}


def test_emit_matrix(host: Host) -> None:
    """Each line of emit_matrix: who receives it, what on_update hears, what the result says."""
    with connect(host, "e1") as e1, connect(host, "e2") as e2, connect(host, "o1", "other") as o1:
        for client_id in ("e2", "o1"):
            assert host.call("join", client_id, "R") == {"ok": True, "r": True}
        for case in ERRORS["emit_matrix"]:
            check_emit(host, {"e1": e1, "e2": e2, "o1": o1}, case)
        for peer in (e1, e2, o1):
            say_goodbye(peer)
    for client_id in ("e1", "e2", "o1"):
        host.log.wait(client_id, "mgr_on_disconnect")
    eventually(lambda: host.state()["clients"] == [])


def check_emit(host: Host, peers: dict[str, RawPeer], case: dict[str, Any]) -> None:
    name = case["name"]
    target = case.get("args", {"client_id": "e1"})
    before = {one: len(updates(host, one)) for one in ("e1", "e2", "o1", "zz", "")}
    event = 5 if name == "data_event_int" else "ev"
    outcome = host.call("emit", event, DATA_OF.get(name, "D"), **target)
    expected = {one: case["received"].get(one, []) for one in peers}
    if name in RAISES:
        assert outcome["exc"] == RAISES[name][0], name
        assert name != "no_target" or outcome["msg"].startswith(case["result"]["msg"])
    else:
        away = target.get("client_id") not in (None, "e1")
        offline = [target["client_id"]] if away else []
        assert outcome["r"] == {"sent": sum(map(len, expected.values())), "offline": offline, "dropped": {}}, name
    for one, peer in peers.items():
        for wanted in expected[one]:
            assert packet(peer.recv_frame()) == (wanted["event"], revive_value(wanted["value"])), name
        peer.send_frame(Opcode.PING, name.encode())
        assert peer.expect_frame() == Frame(True, 0, Opcode.PONG, name.encode()), f"{name}: {one} got more"
    for one, count in before.items():
        events = [update for update in case["events"] if update["client"] == one]
        if events:  # a process of its own tells a little later
            host.log.wait(one, "on_update", count + len(events))
        assert len(updates(host, one)) - count == len(events), name


def updates(host: Host, client_id: str) -> list[str]:
    return [one for one in host.log.of(client_id) if one == "on_update"]


OTHER_RESULTS: list[tuple[Callable[[dict[str, Any]], bool], Any, str]] = [
    (lambda case: case["method"] == "leave" and "exc" in case["result"], {"ok": True}, "S9, S10: nothing raises"),
    (
        lambda case: case["method"] == "remove" and case["args"] == ["e1"],
        {"ok": True, "r": True},
        "S1: the original raised ValueError because of its empty room Q, and kept the device",
    ),
]


def test_manager_calls(host: Host) -> None:
    """The calls of the study one after the other, with the rooms after each."""
    peers = {"e1": connect(host, "e1"), "e2": connect(host, "e2"), "o1": connect(host, "o1", "other")}
    try:
        for client_id in ("e2", "o1"):
            host.call("join", client_id, "R")
        for case in ERRORS["manager_calls"]:
            if "method" in case:
                check_call(host, case)
        close = peers["e1"].expect_frame()
        assert (close.opcode, close.close_code) == (Opcode.CLOSE, 1000), "S36: the socket is closed too"
        eventually(lambda: host.state()["clients"] == ["e2", "o1"])
    finally:
        for peer in peers.values():
            peer.close()
    for client_id in peers:
        host.log.wait(client_id, "mgr_on_disconnect", host.log.of(client_id).count("mgr_on_connect"))
    eventually(lambda: host.state()["clients"] == [])


def check_call(host: Host, case: dict[str, Any]) -> None:
    outcome = host.call(case["method"], *case["args"], **case["kw"])
    wanted = next((other for fits, other, _ in OTHER_RESULTS if fits(case)), None)
    if wanted is None:
        wanted = dict(case["result"])
        if wanted.get("r", 0) is None:
            del wanted["r"]  # where the original returned nothing, ours says what was done
        elif isinstance(wanted.get("r"), dict):
            wanted["r"] = wanted["r"]["repr"]
    if "msg" in wanted:
        assert outcome.pop("msg").startswith(wanted.pop("msg")), "in the original's words"
    if "r" in wanted and isinstance(wanted["r"], str):
        assert outcome.pop("r").startswith(f"<{wanted.pop('r')}")
    assert wanted.items() <= outcome.items(), case
    rooms = {room: members for room, members in case["rooms"]["rooms"].items() if members}  # S12: empty rooms go
    if (case["method"] == "leave" and case["args"][0] != "e1") or case["args"][-1:] == ["nosuchroom"]:
        rooms.pop("Q2", None)  # S9: leave(IoTClient) does leave
    assert host.state()["rooms"] == rooms, case


# Protocol v0.

CLOSED_BY_US = "refused with CLOSE 1008 and words; the originals sent an empty CLOSE frame"
LIVES = "V2: the original's leftover print ended the connection unless the handler returned a str"
# name -> (frames that come, the connection is over afterwards, why)
OTHER_V0: dict[str, tuple[list[tuple[int, Any]], bool, str]] = {
    "data_with_list_brackets": ([(Opcode.CLOSE, 1008)], True, CLOSED_BY_US),
    "unknown_type": ([(Opcode.CLOSE, 1008)], True, CLOSED_BY_US),
    "two_fields": ([(Opcode.CLOSE, 1008)], True, CLOSED_BY_US),
    "four_fields": ([(Opcode.CLOSE, 1008)], True, CLOSED_BY_US),
    "empty_text": ([(Opcode.CLOSE, 1008)], True, CLOSED_BY_US),
    "binary_handshake": ([], False, "accepted, and answered in BINARY, for devices made for 0.2.1 to 0.3.1"),
    "path_slash": ([], False, "0.2 routed it elsewhere, 0.3 answered 404; ours is the same place"),
    "no_handshake_wait_then_close": ([], True, "the device goes before it introduces itself"),
    "close_instead_of_handshake": ([(Opcode.CLOSE, 1000)], True, "the code is echoed; 0.2 sent an empty frame"),
    "close_1000": ([(Opcode.CLOSE, 1000)], True, "the code is echoed; 0.2 sent an empty frame"),
    "close_empty": ([(Opcode.CLOSE, 1000)], True, "0.3 answered 1000 too"),
    "abrupt_fin": ([], True, "V1: 0.3.1 hung at 100 % CPU"),
    "echo_'NaN'": ([(Opcode.TEXT, '[/"echo"/][/"NaN"/]')], False, "NaN is not JSON: it stays the text that it is"),
    "event_'none'": ([], False, LIVES),
    "event_'raise'": ([], False, "logged; the original ended the connection"),
    "event_'tuple'": ([(Opcode.TEXT, '[/"tuple_reply"/][/"m"/]')], False, "tuples mean the same as in v1"),
    "event_'connect'": ([], False, "S7: reserved"),
    "event_'disconnect'": ([], False, "S7: reserved"),
    "raw_return_5": ([(Opcode.TEXT, '[/"raw"/][/"5"/]')], False, LIVES),
    "raw_return_1.5": ([(Opcode.TEXT, '[/"raw"/][/"1.5"/]')], False, LIVES),
    "raw_return_true": ([(Opcode.TEXT, '[/"raw"/][/"True"/]')], False, LIVES),
    'raw_return_{"a": 1}': ([(Opcode.TEXT, '[/"raw"/][/"{"a": 1}"/]')], False, LIVES),
    "raw_return_null": ([], False, LIVES),
    "push_utf8": (
        [(Opcode.TEXT, '[/"pushed"/][/"é漢z"/]'), (Opcode.TEXT, '[/"pushutf8"/][/"done"/]')],
        False,
        "client.send with the parameters of 0.2.1 to 0.3.1; text is always UTF-8 (V3)",
    ),
    "push_bytes": ([], False, "no v0 device could read bytes: EncodeError in the handler, logged"),
    "binary_msg": ([], False, "ignored as every other frame that is no message"),
    "bad_utf8_text": ([(Opcode.CLOSE, 1007)], True, "RFC 6455 8.1"),
}
# Two cases have one name; the first is a handshake.
GARBAGE_HANDSHAKE: tuple[list[tuple[int, Any]], bool, str] = ([(Opcode.CLOSE, 1008)], True, CLOSED_BY_US)
BIG = "x" * 65536


@pytest.mark.parametrize("case", V0, ids=lambda case: f"{case['group']}-{case['name']}")
def test_v0(host: Host, case: dict[str, Any]) -> None:
    name = case["name"]
    if name == "v1_headers_no_frame":
        pytest.skip("v1 headers make a v1 device: see test_handshake")
    leave_to_foreign_server(host, name)
    path = {"path_slash": "/iot.io/", "path_query": "/iot.io?x=1"}.get(name, "/iot.io")
    with host.peer() as peer:
        assert peer.upgrade(path).status == 101
        for batch in case["sent"]:
            for frame in big() if batch == "big" else batch:
                peer.send_frame(*frame_of(frame))
        frames, over = expected_v0(case)
        if over:
            if not frames:
                peer.half_close()
            if frames == [(Opcode.CLOSE, 1008)]:  # every host waits for the answer to ours, uvicorn 10 s
                assert [seen(peer.expect_frame()) for _ in frames] == frames
                peer.send_close()
                frames = []
            assert [seen(frame) for frame in peer.recv_frames_until_eof()] == frames
            return
        assert [seen(peer.expect_frame()) for _ in frames] == frames
        opcode = Opcode.BINARY if name == "binary_handshake" else Opcode.TEXT
        peer.send_frame(opcode, b'[/"echo"/][/"alive"/]')
        assert peer.expect_frame() == Frame(True, 0, opcode, b'[/"echo"/][/"alive"/]')
        peer.send_close(1000)
        assert [frame.close_code for frame in peer.recv_frames_until_eof()] == [1000]


def expected_v0(case: dict[str, Any]) -> tuple[list[tuple[int, Any]], bool]:
    if case["name"] == "garbage" and case["group"] == "hs":
        return GARBAGE_HANDSHAKE[:2]
    if case["name"] in OTHER_V0:
        return OTHER_V0[case["name"]][:2]
    if case["name"] == "big_64k":
        return [(Opcode.TEXT, f'[/"echo"/][/"{BIG}"/]')], False
    return [(frame_of(frame)[0], frame_of(frame)[1].decode()) for frame in case["received"]], False


def big() -> list[dict[str, str]]:
    return [{"op": "text", "payload": f'[/"echo"/][/"{BIG}"/]'}]


def frame_of(frame: dict[str, Any]) -> tuple[int, bytes]:
    if "hex" in frame:
        return Opcode[frame["op"].upper()], bytes.fromhex(frame["hex"])
    if frame["op"] == "close":
        return Opcode.CLOSE, b"" if frame["code"] is None else frame["code"].to_bytes(2, "big")
    return Opcode[frame["op"].upper()], frame.get("payload", "").encode()


def seen(frame: Frame) -> tuple[int, Any]:
    if frame.opcode == Opcode.CLOSE:
        return frame.opcode, frame.close_code
    return frame.opcode, frame.payload.decode()


# What 0.2.3 and 0.3.1 made of these is the defect V3: BINARY frames of ASCII, all else dropped.
ONLY_ASCII = {"echo_'é漢'", "push_'é漢z'"}


@pytest.mark.parametrize("server", sorted(set(V0_SERVERS) - {"gen0_020"}))
def test_the_later_servers_of_v0_were_asked_the_same(server: str) -> None:
    """So `test_v0` runs their cases too: they sent the same text (in BINARY frames), or ours is different from both.

    The one question that was another is `path_slash`, where 0.3.1 answered 404 and nothing could be sent.
    """
    later = V0_SERVERS[server]
    assert [(case["group"], case["name"]) for case in later] == [(case["group"], case["name"]) for case in V0]
    asked_other = {one["name"] for one, other in zip(V0, later, strict=True) if one["sent"] != other["sent"]}
    assert asked_other <= {"path_slash"}
    for one, other in zip(V0, later, strict=True):
        if texts(one) != texts(other):
            assert one["name"] in OTHER_V0 or one["name"] in ONLY_ASCII, one["name"]


def texts(case: dict[str, Any]) -> list[Any]:
    """What a server of v0 sent, whatever frames it was in; a case that met a 404 has nothing."""
    return [
        {key: value for key, value in frame.items() if key != "op" or value == "close"}
        for frame in case.get("received", [])
    ]


def test_every_difference_of_v0_is_used() -> None:
    assert set(OTHER_V0) - {case["name"] for case in V0} == set()


def test_every_difference_at_run_time_is_used() -> None:
    names = {case["name"] for case in ERRORS["runtime"]}
    assert (set(OTHER_PACKETS) | set(OTHER_CLOSES) | set(DATA) | set(IDS) | set(LARGE)) - names == set()
    assert set(RAISES) - {case["name"] for case in ERRORS["emit_matrix"]} == set()


def test_the_large_frames_are_those_of_the_vectors() -> None:
    for case in ERRORS["runtime"]:
        if case["name"] in LARGE:
            head = case["sent_hex"].partition("...")[0]
            assert LARGE[case["name"]].hex().startswith(head)
            assert len(FrameDecoder(1 << 21).feed(LARGE[case["name"]])) == 1

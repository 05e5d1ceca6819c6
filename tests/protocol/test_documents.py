"""The protocol pages are true: their examples run, and their tables say what the code says.

An example is a fenced `text` block whose first line is `# check KIND ARGUMENT`; ARGUMENT is a Python literal.
In bytes, what stands behind two blanks is a comment.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from iotio_protocol import calls, v0, v1, v2
from iotio_protocol.endpoints import EndpointParseResponse, EndpointType
from iotio_protocol.errors import CallFault, ErrorCode, HandshakeError, InvalidPacket
from iotio_protocol.frames import BINARY, TEXT, Close, FrameDecoder, encode_close, encode_frame
from iotio_protocol.handshake import Hello, device_headers, parse_headers
from iotio_protocol.options import Options
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import MOVES, Session, State
from iotio_protocol.stream import MAX_UNACKNOWLEDGED
from iotio_protocol.v2_session import V2Session
from tests.protocol.vectors import V2_FLAGS, V2_TYPES

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "protocol"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
BLOCK = re.compile(r"^```text\n# check ([a-z-]+) (.+)\n((?:.*\n)*?)```$", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """One checked block."""

    page: str
    kind: str
    argument: Any
    body: str

    @property
    def data(self) -> bytes:
        """The bytes of a hexadecimal block."""
        return bytes.fromhex(" ".join(line.split("  ")[0] for line in self.body.splitlines()))

    @property
    def text(self) -> str:
        """The text of a block that holds one message."""
        return self.body.removesuffix("\n")


EXAMPLES = [
    Example(page, match[1], ast.literal_eval(match[2]), match[3])
    for page, text in PAGES.items()
    for match in BLOCK.finditer(text)
]


def one_frame(data: bytes) -> object:
    """What the server makes of the bytes of a device."""
    (item,) = FrameDecoder(Options().max_message).feed(data)
    return item


def check_packet(example: Example) -> None:
    assert v1.encode(*example.argument) == example.data
    assert v1.decode(example.data) == example.argument


def check_read_v1(example: Example) -> None:
    event, value = v1.decode(example.data)
    assert (event, value) == example.argument
    assert type(value) is type(example.argument[1])


def check_invalid_v1(example: Example) -> None:
    with pytest.raises(InvalidPacket, match=re.escape(example.argument)):
        v1.decode(example.data)


def check_error(example: Example) -> None:
    code, info = example.argument
    assert v1.error_packet(ErrorCode(code), info) == example.data


def check_answer(example: Example) -> None:
    packet = bytes.fromhex(example.argument)
    session = Session(1, Options(), now=0)
    session.open()
    mask = b"\x01\x02\x03\x04"
    masked = bytes(byte ^ mask[index & 3] for index, byte in enumerate(packet))
    session.receive(bytes([0x82, 0x80 | len(packet)]) + mask + masked, now=0)
    assert session.take_output() == example.data


def check_frame_from_device_v1(example: Example) -> None:
    assert one_frame(example.data) == v1.encode(*example.argument)


def check_frame_from_server_v1(example: Example) -> None:
    assert encode_frame(BINARY, v1.encode(*example.argument)) == example.data


def check_close(example: Example) -> None:
    assert encode_close(*example.argument) == example.data


def check_ping(example: Example) -> None:
    session = Session(1, Options(), now=0)
    session.open()
    for turn in range(example.argument):
        session.take_output()
        session.last_received = turn * 1000.0
        session.tick(now=turn * 1000.0 + Options().ping_interval)
    assert session.take_output() == example.data


def check_request(example: Example) -> None:
    lines = example.text.split("\n")
    assert lines[0] == "GET /iot.io HTTP/1.1"
    pairs = [line.split(": ", 1) for line in lines[1:]]
    found = device_headers((name, value) for name, value in pairs)
    if example.argument is None:
        assert found == {}
    else:
        client_id, client_type, data, endpoints = example.argument
        assert parse_headers(found) == Hello(client_id, client_type, data, endpoints, 1)


def check_message(example: Example) -> None:
    assert v0.encode(*example.argument) == example.text
    assert v0.decode(example.text) == example.argument


def check_message_bytes(example: Example) -> None:
    assert v0.encode(*example.argument).encode() == example.data


def check_read_v0(example: Example) -> None:
    event, value = v0.decode(example.text)
    assert (event, value) == example.argument
    assert type(value) is type(example.argument[1])


def check_invalid_v0(example: Example) -> None:
    with pytest.raises(InvalidPacket, match=example.argument):
        v0.decode(example.text)


def check_invalid_handshake(example: Example) -> None:
    with pytest.raises(InvalidPacket, match=example.argument):
        v0.decode_handshake(example.text)


def check_handshake(example: Example) -> None:
    client_id, client_type, data = example.argument
    assert v0.encode_handshake(client_id, client_type, data) == example.text
    assert v0.decode_handshake(example.text)[:2] == (client_id, client_type)


def check_frame_from_device_v0(example: Example) -> None:
    assert one_frame(example.data) == v0.encode(*example.argument)


def check_frame_from_server_v0(example: Example) -> None:
    assert encode_frame(TEXT, v0.encode(*example.argument).encode()) == example.data


def check_packet_v2(example: Example) -> None:
    event, value, flags, call, number, previous, time = example.argument
    packet = v2.encode(event, value, flags, call=call, number=number, previous=previous, time=time)
    assert packet == example.data
    assert v2.decode(example.data) == v2.Packet(event, value, flags, call, number, time, previous)


def check_hello(example: Example) -> None:
    assert v2.encode_json(v2.HELLO, example.argument) == example.data
    assert v2.decode(example.data) == v2.Greeting(welcome=False, fields=example.argument)


CHECKS: dict[tuple[str, str], Callable[[Example], None]] = {
    ("v1", "request"): check_request,
    ("v1", "packet"): check_packet,
    ("v1", "read"): check_read_v1,
    ("v1", "invalid"): check_invalid_v1,
    ("v1", "error"): check_error,
    ("v1", "answer"): check_answer,
    ("v1", "frame-from-device"): check_frame_from_device_v1,
    ("v1", "frame-from-server"): check_frame_from_server_v1,
    ("v1", "close-from-server"): check_close,
    ("v1", "ping-from-server"): check_ping,
    ("v0", "request"): check_request,
    ("v0", "message"): check_message,
    ("v0", "message-bytes"): check_message_bytes,
    ("v0", "read"): check_read_v0,
    ("v0", "invalid"): check_invalid_v0,
    ("v0", "invalid-handshake"): check_invalid_handshake,
    ("v0", "handshake"): check_handshake,
    ("v0", "frame-from-device"): check_frame_from_device_v0,
    ("v0", "frame-from-server"): check_frame_from_server_v0,
    ("v0", "close-from-server"): check_close,
    ("v2", "packet"): check_packet_v2,
    ("v2", "hello"): check_hello,
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda case: f"{case.page}-{case.kind}-{case.argument!s:.40}")
def test_examples(example: Example) -> None:
    CHECKS[example.page, example.kind](example)


def test_every_block_with_a_check_line_is_read() -> None:
    assert len(EXAMPLES) == sum(text.count("\n# check ") for text in PAGES.values())
    assert set(CHECKS) == {(example.page, example.kind) for example in EXAMPLES}


# Tables.


def rows(page: str, first_heading: str) -> list[list[str]]:
    """The cells of all tables with that first column, blank and code marks removed."""
    found: list[list[str]] = []
    inside = False
    for line in PAGES[page].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] == first_heading:
            inside = True
        elif inside and not set(line) <= set("|- "):
            found.append(cells)
    assert found, f"no table {first_heading!r} on page {page}"
    return found


@pytest.mark.parametrize("page", ["v0", "v1"])
def test_limits_and_timings(page: str) -> None:
    defaults = {field.name: field.default for field in fields(Options)}
    told = {cells[0].strip("`"): cells[1] for cells in rows(page, "option")}
    for name, value in told.items():
        assert f"{defaults[name]}".removesuffix(".0") == value.removesuffix(".0"), name
    if page == "v1":
        of_the_server = {"max_queued", "max_queued_bytes", "trusted_proxies"}  # nothing that a device sees
        assert set(told) == set(defaults) - {"handshake_timeout", "allowed_origins", "allowed_hosts"} - of_the_server


def test_the_message_limit() -> None:
    options = Options(max_event=10, max_payload=20)
    assert options.max_message == 12 + 10 + 20
    for page in ("v0", "v1"):
        assert "12 + `max_event` + `max_payload`" in PAGES[page]


def test_data_types() -> None:
    told = {int(cells[0]): cells[1].strip("`") for cells in rows("v1", "byte")}
    assert told == {kind.value: kind.name for kind in v1.DataType}


def test_error_codes() -> None:
    told = [cells[0].strip("`") for cells in rows("v1", "code") if cells[0].startswith("`")]
    of_v2 = [ErrorCode.STREAM_GAP.value, ErrorCode.UNSUPPORTED_PACKET.value]
    assert sorted(told + of_v2) == sorted(code.value for code in ErrorCode)
    assert not any(code in PAGES["v1"] for code in of_v2)


def test_error_codes_of_v2() -> None:
    named = {
        word for cells in rows("v2", "input") + rows("v2", "check") for word in re.findall("`([a-z_]+)`", cells[1])
    }
    named -= {"info", DisconnectReason.PROTOCOL_ERROR.value}
    v1_only = {"client_no_protocol_version"}
    elsewhere = {"client_incompatible_protocol_version", "server_busy", "origin_not_allowed"}
    assert named | v1_only | elsewhere == {code.value for code in ErrorCode}
    assert {code for code in elsewhere | v1_only if f"`{code}`" in PAGES["v2"]} == elsewhere


def test_types_and_flags_of_v2() -> None:
    assert {cells[1].strip("`"): int(cells[0]) for cells in rows("v2", "type")} == V2_TYPES
    assert {cells[1].strip("`"): int(cells[0], 16) for cells in rows("v2", "flag")} == V2_FLAGS


def test_layout_of_v2() -> None:
    """The fields that the table of bytes promises for each set of flags are what the codec writes."""
    fields = [(cells[0], cells[1]) for cells in rows("v2", "bytes")]
    for flag in [0, *V2_FLAGS.values()]:
        present = [
            size
            for size, needed in fields
            if needed == "always" or any(V2_FLAGS[name] & flag for name in re.findall("`([A-Z]+)`", needed))
        ]
        size = sum(int(one) for one in present if one.isdigit())
        assert len(v2.encode("", None, flag, call=1, number=1)) == size
    assert sum(int(size) for size, _ in fields if size.isdigit()) == v2.HEAD + 4  # CALL and DURABLE exclude each other


def test_failures_of_v2() -> None:
    assert [cells[0].strip("`") for cells in rows("v2", "failure")] == [fault.value for fault in CallFault]


def test_fixed_limits_of_v2() -> None:
    assert [int(cells[1]) for cells in rows("v2", "limit")] == [
        calls.MAX_CALLS,
        MAX_UNACKNOWLEDGED,
        v2.MAX_NUMBER,
        v2.MAX_TIME,
        v2.LEAST_HELLO,
        v2.HEAD,
        v2.MAX_NAME,
        calls.MAX_TEXT,
        Options().handshake_timeout,
    ]
    assert f"{v2.HEAD} + `max_event` + `max_payload`, or than {v2.HEAD} + 4096" in PAGES["v2"]
    assert v2.max_message(Options(max_event=1, max_payload=1)) == v2.HEAD + 4096
    assert v2.max_message(Options(max_event=10, max_payload=5000)) == v2.HEAD + 10 + 5000


def test_fields_of_a_welcome() -> None:
    session = V2Session(Options(), now=0)
    session.open({"server": "", "time": 0, "sends": None, "heard": None})
    (frame,) = FrameDecoder(4096).feed(mask_server_frame(session.take_output()))
    assert isinstance(frame, bytes)
    welcome = v2.decode(frame)
    assert isinstance(welcome, v2.Greeting)
    told = {name for cells in rows("v2", "field") if len(cells) == 2 for name in re.findall("`([a-z_]+)`", cells[0])}
    assert told == set(welcome.fields)


def state_table() -> str:
    """The moves of the code as the page has them."""
    lines = ["| state | what happens | next |", "| --- | --- | --- |"]
    lines += [f"| {state.value} | {what} | {after.value} |" for (state, after), what in MOVES.items()]
    return "\n".join(lines) + "\n"


def test_states_of_v2() -> None:
    """If it fails, put what `state_table` says behind the mark on the page."""
    assert f"<!-- states: v2 -->\n\n{state_table()}\n" in PAGES["v2"]


def test_order_of_checks() -> None:
    """All that can be wrong is wrong; each line of the table, mended, uncovers the next."""
    headers = {"data": "{", "endpoints": "[", "other": ""}
    mend = {
        "client_no_id": ("id", "a"),
        "client_no_type": ("type", "t"),
        "client_no_protocol_version": ("protocolversion", "2"),
        "client_invalid_data": ("data", "{}"),
        "client_invalid_endpoints": ("endpoints", "[]"),
        "client_incompatible_protocol_version": ("protocolversion", "1"),
    }
    for cells in rows("v1", "")[:6]:
        with pytest.raises(HandshakeError) as caught:
            parse_headers(headers)
        code = cells[2].strip("`")
        assert caught.value.code.value == code
        info = None if cells[3] == "null" else ast.literal_eval(cells[3].strip("`"))
        assert caught.value.info == info
        name, value = mend[code]
        headers[name] = value
    assert parse_headers(headers).id == "a"


def test_endpoint_types_and_problems() -> None:
    problems = {name for cells in rows("v1", "`endpointProblem`") for name in re.findall("`([a-z_]+)`", cells[0])}
    assert problems == {problem.value for problem in EndpointParseResponse} - {"valid"} | {"invalid_json"}
    types = {cells[0].strip("`") for cells in rows("v1", "type")}
    assert types == {kind.value for kind in EndpointType}


@pytest.mark.parametrize("cells", [c for c in rows("v1", "code") if c[0].isdigit()], ids=lambda cells: cells[1])
def test_close_codes(cells: list[str]) -> None:
    code, reason = int(cells[0]), DisconnectReason(cells[2].split("`")[1])
    if reason is DisconnectReason.PROTOCOL_ERROR:
        return  # tests/protocol/test_frames.py
    session = Session(1, Options(), now=0)
    session.open()
    session.close(reason, now=0)
    assert session.state is State.CLOSING
    assert session.take_output() == encode_close(code, reason.value)


def test_every_reason_has_its_line() -> None:
    told = {cells[2].split("`")[1] for cells in rows("v1", "code") if "`" in cells[2]}
    missing = {reason.value for reason in DisconnectReason} - told
    assert missing == {"handshake_timeout"}  # v0 only
    assert "`handshake_timeout`" in PAGES["v0"]


def test_codes_of_broken_rules() -> None:
    """The lines of the tables of malformed input that name a close code."""
    told = {cells[1] for page in ("v0", "v1") for cells in rows(page, "input") if cells[1].startswith("CLOSE")}
    assert {int(line.split()[1].strip(",")) for line in told} == {1002, 1007, 1008, 1009}


@pytest.mark.parametrize("cells", rows("v0", "text"), ids=lambda cells: cells[0])
def test_arguments(cells: list[str]) -> None:
    text = cells[0].strip("`")
    expected = ["", ""] if cells[1] == "two empty ones" else re.findall("`([^`]+)`", cells[1])
    if len(expected) == 2:
        assert list(v0.decode(text)) == expected
    else:
        with pytest.raises(InvalidPacket, match=f"{len(expected)} were found"):
            v0.decode(text)


READ: dict[str, Any] = {
    'the number 5, whether the sender meant 5 or "5"': 5,
    "the text `05`": "05",
    "the number 0": 0,
    "the number 1000.0": 1000.0,
    "the number 7: JSON allows blanks around it": 7,
    "true": True,
    "the text `True`": "True",
    "null": None,
    "the text `NaN`": "NaN",
    "the text `q`, without quotes": "q",
    "an object": {"a": 1},
}


@pytest.mark.parametrize("cells", rows("v0", "argument"), ids=lambda cells: cells[0])
def test_what_is_read(cells: list[str]) -> None:
    if cells[0].isdigit():
        return  # the arguments of the handshake
    expected = READ[cells[1]]
    _, value = v0.decode(f'[/"e"/][/"{cells[0].strip("`")}"/]')
    assert value == expected
    assert type(value) is type(expected)


def test_what_a_device_is_told_of_a_wrong_v0_handshake() -> None:
    session = Session(0, Options(), now=0)
    session.receive(bytes.fromhex("8180") + bytes(4), now=0)
    (item,) = FrameDecoder(200).feed(mask_server_frame(session.take_output()))
    assert item == Close(1008, "3 arguments are needed, 0 were found")
    late = Session(0, Options(), now=0)
    late.tick(now=Options().handshake_timeout)
    assert late.take_output() == encode_close(1008, "handshake_timeout")


def mask_server_frame(data: bytes) -> bytes:
    """A frame of the server below 64 KiB as if a client had sent it, with a mask of zeros."""
    head = 4 if data[1] == 126 else 2
    return bytes([data[0], data[1] | 0x80]) + data[2:head] + bytes(4) + data[head:]


def test_the_vectors_that_the_pages_name_are_there() -> None:
    folder = Path(__file__).resolve().parents[1] / "vectors"
    for name in re.findall(r"`([a-z0-9_]+\.json)`", PAGES["index"]):
        assert (folder / name).is_file(), name

"""Binary packets, on the original's own vectors and beyond them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iotio_protocol import v1
from iotio_protocol.errors import EncodeError, ErrorCode, InvalidPacket
from iotio_protocol.options import Options
from tests.protocol.vectors import PacketVector, load, revive, v1_decode_cases, v1_packets

WIDE = Options(max_event=0xFFFF, max_payload=0xFFFFFFFF)
DECODE = load("v1_packets_decode.json")
ERRORS = load("v1_errors.json")

# What the original wrote and this codec refuses to write; key: words of the vector's note.
REFUSED_TO_WRITE = {
    "lone surrogate": "it would vanish on the way: the sender is told instead",
    "NaN/Infinity": "bare tokens that no JSON parser outside Python reads",
}
# Recommended "accept" for the encoder class of the original, refused on the wire (`string_bad_utf8` of
# v1_errors.json): a text that lost some of its bytes is a wrong text.
STRICT_ON_THE_WIRE = {"string invalid UTF-8 (dropped)", "string partly invalid", "event invalid UTF-8"}
# Recommended as an error by the blanket line of its group in v1_errors.json, but "accept leniently
# (sign-extend) - devices may send short ints" by its own line in v1_packets_decode.json. The latter holds.
LENIENT_ON_THE_WIRE = {"int_4_bytes"}


def packet(kind: int, event: bytes, body: bytes, length: int | None = None) -> bytes:
    """A packet by the byte table, written apart from the codec."""
    size = len(body) if length is None else length
    return bytes([kind]) + len(event).to_bytes(2, "big") + event + size.to_bytes(4, "big") + body


def test_few_heads_of_packets_are_remembered() -> None:
    """Names of events may come from devices."""
    for number in range(5000):
        v1.encode(f"event {number}", 1)
        v1.encode(f"{number:063}", 1)
    assert len(v1._heads) == 4096
    assert max(map(len, v1._heads.values())) < 64


# The vectors.


@pytest.mark.parametrize("case", v1_packets(), ids=lambda case: case.name)
def test_encode_writes_what_the_original_wrote(case: PacketVector) -> None:
    if any(words in case.note for words in REFUSED_TO_WRITE):
        with pytest.raises(EncodeError):
            v1.encode(case.event, case.value)
        return
    assert v1.encode(case.event, case.value) == case.packet
    assert case.packet[0] == case.type_byte


@pytest.mark.parametrize("case", v1_packets(), ids=lambda case: case.name)
def test_decode_reads_what_the_original_wrote(case: PacketVector) -> None:
    if "NaN" in case.note:
        with pytest.raises(InvalidPacket, match="not JSON"):
            v1.decode(case.packet, WIDE)
        return
    assert v1.decode(case.packet, WIDE) == (case.event, case.read_back)


def test_every_deliberate_difference_is_used() -> None:
    notes = " ".join(case.note for case in v1_packets())
    assert [words for words in REFUSED_TO_WRITE if words not in notes] == []
    assert {case["note"] for case in DECODE["decode"]} >= STRICT_ON_THE_WIRE
    assert {case["name"] for case in ERRORS["runtime"]} >= LENIENT_ON_THE_WIRE


@pytest.mark.parametrize("case", v1_decode_cases())
def test_decode_follows_the_recommendation(case: dict[str, Any]) -> None:
    if "hex" in case:
        data = bytes.fromhex(case["hex"])
    else:
        data = bytes.fromhex("0400046563686f00001770") + b"[" * 3000 + b"]" * 3000
    strict = case["note"] in STRICT_ON_THE_WIRE
    if strict or case["recommended"].startswith("reject"):
        with pytest.raises(InvalidPacket):
            v1.decode(data)
    if not case["recommended"].startswith("reject"):
        event, value = v1.decode(data, errors="ignore" if strict else "strict")
        assert (event, value) == (case["event"], revive(case["value"]))
        assert type(value).__name__ == case["pytype"]


@pytest.mark.parametrize("case", DECODE["encode_errors"], ids=lambda case: str(case.get("note", case["value"])))
def test_what_the_original_could_not_encode_is_an_encode_error(case: dict[str, Any]) -> None:
    event = case.get("event", "e" * 65536)
    values: dict[str, Any] = {"memoryview": memoryview(b"a"), "tuple": (1, 2), "dict": {"s": {1}}}
    value = values.get(case.get("pytype", ""), case["value"])
    with pytest.raises(EncodeError):
        v1.encode(event, value)


@pytest.mark.parametrize(
    "case",
    [case for case in ERRORS["runtime"] if case["group"] == "malformed" and case["sent_hex"].startswith("82")],
    ids=lambda case: case["name"],
)
def test_malformed_packets_of_the_wire_vectors(case: dict[str, Any]) -> None:
    frame = bytes.fromhex(case["sent_hex"])
    data = bytes(byte ^ frame[2 + index % 4] for index, byte in enumerate(frame[6:]))
    if case["name"] in LENIENT_ON_THE_WIRE:
        assert v1.decode(data) == ("echo", 42)
    else:
        assert "client_invalid_packet" in case["recommended"]
        with pytest.raises(InvalidPacket):
            v1.decode(data)


@pytest.mark.parametrize("case", ERRORS["handshake_errors"], ids=lambda case: case["name"])
def test_error_packets_are_those_of_the_original(case: dict[str, Any]) -> None:
    (decoded,) = case["decoded"]
    (expected,) = case["error_packet_hex"]
    value = decoded["value"]
    assert v1.error_packet(ErrorCode(value["error"]), value["info"]).hex() == expected
    assert v1.decode(bytes.fromhex(expected)) == ("error", value)


# The byte table.


@pytest.mark.parametrize(
    ("value", "kind", "body"),
    [
        (b"", 0, b""),
        (bytearray(b"\x00\xff"), 0, b"\x00\xff"),
        (False, 1, b"\x00"),
        (True, 1, b"\x01"),
        (0, 2, bytes(8)),
        (-1, 2, b"\xff" * 8),
        (2**63 - 1, 2, b"\x7f" + b"\xff" * 7),
        (-(2**63), 2, b"\x80" + bytes(7)),
        ("", 3, b""),
        ("é", 3, b"\xc3\xa9"),
        ({}, 4, b"{}"),
        ([], 4, b"[]"),
        ({"a": [None, 1.5, "é"]}, 4, b'{"a": [null, 1.5, "\\u00e9"]}'),
    ],
    ids=repr,
)
def test_each_type(value: Any, kind: int, body: bytes) -> None:
    data = packet(kind, b"ev", body)
    assert v1.encode("ev", value) == data
    assert v1.encode_value(value) == (kind, body)
    assert v1.encode_head(kind, "ev") + len(body).to_bytes(4, "big") + body == data
    event, back = v1.decode(data)
    assert (event, back) == ("ev", value)
    assert type(back) is (bytes if isinstance(value, bytearray) else type(value))


@pytest.mark.parametrize("width", range(1, 9))
def test_short_integers_are_sign_extended(width: int) -> None:
    for value in (0, 1, -1, 2 ** (8 * width - 1) - 1, -(2 ** (8 * width - 1))):
        body = value.to_bytes(width, "big", signed=True)
        assert v1.decode(packet(2, b"i", body)) == ("i", value)


@pytest.mark.parametrize("byte", [1, 2, 0x7F, 0x80, 0xFF])
def test_any_byte_but_zero_is_true(byte: int) -> None:
    assert v1.decode(packet(1, b"b", bytes([byte]))) == ("b", True)


@pytest.mark.parametrize("text", ["5", "1.5", "null", "true", '"text"'])
def test_any_json_value_may_stand_in_a_json_packet(text: str) -> None:
    expected = {"5": 5, "1.5": 1.5, "null": None, "true": True, '"text"': "text"}[text]
    assert v1.decode(packet(4, b"j", text.encode())) == ("j", expected)


def test_subclasses_travel_as_what_they_are() -> None:
    assert v1.encode_value(v1.DataType.JSON) == (2, b"\x00" * 7 + b"\x04")
    assert v1.encode_value(ErrorCode.CLIENT_NO_ID) == (3, b"client_no_id")


# What is refused.


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "at least 7 bytes, this one has 0"),
        (b"\x03\x00\x00\x00\x00\x00", "at least 7 bytes, this one has 6"),
        (packet(3, b"", b"")[:-1] + b"\x01", "says 1 bytes, the packet holds 0"),
        (packet(3, b"ab", b"c")[:-1], "says 1 bytes, the packet holds 0"),
        (packet(3, b"ab", b"c") + b"d", "says 1 bytes, the packet holds 2"),
        (b"\x03\x00\x01" + bytes(4), "points past the end"),
        (b"\x03\xff\xff" + bytes(20), "points past the end"),
        (packet(3, b"", b"", 0xFFFFFFFF), "says 4294967295 bytes"),
        (packet(5, b"a", b""), "unknown data type 5"),
        (packet(255, b"a", b""), "unknown data type 255"),
        (packet(1, b"a", b""), "a boolean has 1 byte, this one has 0"),
        (packet(1, b"a", b"\x00\x01"), "a boolean has 1 byte, this one has 2"),
        (packet(2, b"a", b""), "an integer has 1 to 8 bytes, this one has 0"),
        (packet(2, b"a", bytes(9)), "an integer has 1 to 8 bytes, this one has 9"),
        (packet(3, b"a", b"\xed\xa0\x80"), "not UTF-8"),
        (packet(3, b"\xff", b"a"), "not UTF-8"),
        (packet(4, b"a", b"\xff"), "not JSON"),
        (packet(4, b"a", b"\xef\xbb\xbf1"), "not JSON"),
        (packet(4, b"a", b"NaN"), "not JSON"),
        (packet(4, b"a", b"1" * 5000), "not JSON"),
    ],
)
def test_invalid_packets_name_the_problem(data: bytes, problem: str) -> None:
    with pytest.raises(InvalidPacket, match=problem):
        v1.decode(data)


def test_limits_are_inclusive_and_named() -> None:
    options = Options(max_event=4, max_payload=5)
    assert v1.decode(packet(3, b"echo", b"12345"), options) == ("echo", "12345")
    with pytest.raises(InvalidPacket, match="may have 4 bytes, this one has 5"):
        v1.decode(packet(3, b"echo1", b""), options)
    with pytest.raises(InvalidPacket, match="may have 5 bytes, this one has 6"):
        v1.decode(packet(3, b"echo", b"123456"), options)


def test_the_event_limit_counts_bytes_not_characters() -> None:
    with pytest.raises(InvalidPacket, match="may have 256 bytes, this one has 258"):
        v1.decode(packet(3, "é".encode() * 129, b""))


@pytest.mark.parametrize(
    "value",
    [
        None,
        1.5,
        (1,),
        {1},
        memoryview(b""),
        object(),
        2**63,
        -(2**63) - 1,
        "\ud800",
        [float("nan")],
        {"a": b""},
    ],
    ids=repr,
)
def test_values_that_cannot_travel(value: Any) -> None:
    with pytest.raises(EncodeError):
        v1.encode("e", value)
    with pytest.raises(ValueError, match=r"."):  # the same for callers who know ValueError only
        v1.encode("e", value)


@pytest.mark.parametrize(
    "event", [None, 5, b"e", "\ud800", "é" * 32768], ids=["None", "int", "bytes", "surrogate", "long"]
)
def test_events_that_cannot_travel(event: Any) -> None:
    with pytest.raises(EncodeError, match="event's name"):
        v1.encode(event, 1)


# Properties.

INT64 = st.integers(-(2**63), 2**63 - 1)
EVENTS = st.text(max_size=64)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=16,
)
CAN_TRAVEL = (
    st.binary()
    | st.booleans()
    | INT64
    | st.text()
    | st.lists(NESTED, max_size=4)
    | st.dictionaries(st.text(), NESTED, max_size=4)
)


@given(EVENTS, CAN_TRAVEL)
def test_round_trip(event: str, value: Any) -> None:
    back_event, back = v1.decode(v1.encode(event, value))
    assert (back_event, back) == (event, value)
    assert type(back) is type(value)


@given(st.binary())
@example(b"\x04\x00\x00\x00\x00\x00\x01\xff")
def test_any_bytes_are_read_or_are_an_invalid_packet(data: bytes) -> None:
    for errors in ("strict", "ignore"):
        try:
            event, _ = v1.decode(data, errors=errors)
        except InvalidPacket as error:
            assert error.problem
        else:
            assert isinstance(event, str)


@given(st.integers(0, 7), st.binary(max_size=300), st.binary(max_size=40), st.integers(-1, 1))
def test_bytes_near_a_packet_are_read_or_are_an_invalid_packet(kind: int, event: bytes, body: bytes, off: int) -> None:
    try:
        v1.decode(packet(kind, event, body, max(0, len(body) + off)), Options(max_payload=32))
    except InvalidPacket:
        return
    assert off == 0 or (off < 0 and not body)
    assert kind <= 4
    assert len(event) <= 256
    assert len(body) <= 32


@given(st.text(st.characters(exclude_categories=[])) | st.from_type(object), st.from_type(object) | CAN_TRAVEL)
def test_what_cannot_be_encoded_is_an_encode_error(event: Any, value: Any) -> None:
    try:
        data = v1.encode(event, value)
    except EncodeError:
        return
    assert v1.decode(data, WIDE)[0] == event


def test_every_cut_of_a_packet_is_an_invalid_packet() -> None:
    for kind in v1.DataType:
        whole = packet(kind, b"echo", b"1")
        v1.decode(whole)
        for end in range(len(whole)):
            with pytest.raises(InvalidPacket):
                v1.decode(whole[:end])

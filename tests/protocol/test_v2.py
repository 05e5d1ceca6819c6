"""Packets of protocol v2, on the vectors of the specification and beyond them."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iotio_protocol import v2
from iotio_protocol.errors import EncodeError, ErrorCode, InvalidPacket, StreamGap, UnsupportedPacket
from iotio_protocol.options import Options
from iotio_protocol.values import Value
from tests.protocol.vectors import V2_FLAGS, V2_TYPES, load, revive, v2_fields

VECTORS = load("v2_packets.json")
SMALL = Options(max_event=4, max_payload=8)

texts = st.text(max_size=20)
values: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.binary(max_size=20)
    | st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts, max_size=3)
    | st.lists(st.integers() | texts, max_size=3)
)
flags = st.sampled_from([0, v2.CALL, v2.RESULT, v2.FAILURE, v2.DURABLE]).flatmap(
    lambda flag: st.sampled_from([flag, flag | v2.TIME])
)


@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda case: case["name"])
def test_valid_vectors(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    fields = {key: item for key, item in revive(case).items() if key not in ("name", "hex", "written", "limits")}
    packet = v2.decode(data, Options(**case.get("limits", {})))
    found = v2_fields(packet)
    if isinstance(packet, v2.Packet):
        assert data[0] == V2_TYPES[fields.pop("type")]
        assert type(packet.value) is type(fields["value"])
    assert found == fields
    if case.get("written", True):
        assert encode_again(packet) == data


def encode_again(packet: v2.Decoded) -> bytes:
    """The packet as this codec writes it."""
    match packet:
        case v2.Packet():
            return v2.encode(
                packet.event,
                packet.value,
                packet.flags,
                call=packet.call,
                number=packet.number,
                time=packet.time,
                previous=packet.previous,
            )
        case v2.Greeting():
            return v2.encode_json(v2.WELCOME if packet.welcome else v2.HELLO, packet.fields)
        case v2.Ack():
            return v2.encode_ack(packet.upto)
        case v2.Sleep():
            return v2.encode_sleep(packet.seconds)
        case v2.Goodbye():
            return v2.encode_json(v2.GOODBYE, {"reason": packet.reason})
        case v2.Problem():
            return v2.encode_json(v2.PROBLEM, {"error": packet.error, "info": packet.info})
        case v2.Ping():
            return v2.PING_PACKET
        case v2.Pong():
            return v2.PONG_PACKET


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda case: case["name"])
def test_invalid_vectors(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidPacket) as caught:
        v2.decode(bytes.fromhex(case["hex"]), Options(**case.get("limits", {})))
    assert isinstance(caught.value, UnsupportedPacket) == (case["error"] == "unsupported_packet")


def test_every_type_and_every_flag_has_vectors() -> None:
    assert {case["type"] for case in VECTORS["valid"]} == set(V2_TYPES)
    assert {flag for case in VECTORS["valid"] for flag in case.get("flags", ())} == set(V2_FLAGS)
    names = [case["name"] for kind in ("valid", "invalid") for case in VECTORS[kind]]
    assert len(names) == len(set(names))


places = st.integers(1, v2.MAX_NUMBER).flatmap(lambda number: st.tuples(st.integers(0, number - 1), st.just(number)))


@given(texts, values, flags, st.integers(0, 2**32 - 1), places, st.integers(0, v2.MAX_TIME))
def test_round_trip(event: str, value: Any, flag: int, call: int, place: tuple[int, int], time: int) -> None:
    previous, number = place if flag & v2.DURABLE else (0, 0)
    about_calls = flag & (v2.CALL | v2.RESULT | v2.FAILURE)
    packet = v2.Packet(
        "" if flag & (v2.RESULT | v2.FAILURE) else event,
        value,
        flag,
        call if about_calls else 0,
        number,
        time if flag & v2.TIME else 0,
        previous,
    )
    data = encode_again(packet)
    found = v2.decode(data)
    assert found == packet
    assert isinstance(found, v2.Packet)
    assert type(found.value) is type(value)
    for size in (0, len(data) // 2, len(data) - 1):
        with pytest.raises(InvalidPacket):
            v2.decode(data[:size])


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(-0.0)
def test_floats_keep_their_bits(value: float) -> None:
    packet = v2.decode(v2.encode("e", value))
    assert isinstance(packet, v2.Packet)
    assert isinstance(packet.value, float)
    assert (packet.value, math.copysign(1, packet.value)) == (value, math.copysign(1, value))


@given(
    st.binary(max_size=60)
    | st.tuples(st.integers(0, 24), st.integers(0, 63), st.binary(max_size=40)).map(
        lambda parts: bytes(parts[:2]) + parts[2]
    )
    | st.tuples(st.integers(0, 24), st.binary(max_size=12)).map(
        lambda parts: bytes((parts[0], 0, 0, 0, 0, 0, 0, len(parts[1]))) + parts[1]
    )
)
def test_arbitrary_bytes_are_a_packet_or_invalid(data: bytes) -> None:
    try:
        packet = v2.decode(data, SMALL)
    except InvalidPacket as error:
        assert error.problem
        return
    try:
        again = v2.decode(encode_again(packet))
    except EncodeError:  # JSON with half of a surrogate pair is read, and not written
        assert b"\\u" in data
        return
    assert again == packet


def test_limits_are_checked_before_memory_is_taken() -> None:
    """A value of 32 MiB that is over the limit is neither copied nor parsed."""
    data = b"\x04\x00\x00\x01e" + (1 << 25).to_bytes(4, "big") + bytes(1 << 25)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidPacket, match="a value may have 8 bytes, this one has 33554432"):
            v2.decode(data, SMALL)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_the_code_of_an_invalid_packet() -> None:
    assert v2.code_of(InvalidPacket("")) == "client_invalid_packet"
    assert v2.code_of(UnsupportedPacket("type", 24)) == "unsupported_packet"
    assert v2.code_of(StreamGap("")) == "stream_gap"


def test_limits_name_both_numbers() -> None:
    v2.decode(v2.encode("abcd", "12345678"), SMALL)
    with pytest.raises(InvalidPacket, match="an event's name may have 4 bytes, this one has 5"):
        v2.decode(v2.encode("abcde", "x"), SMALL)
    with pytest.raises(InvalidPacket, match="a value may have 8 bytes, this one has 9"):
        v2.decode(v2.encode("abcd", "123456789"), SMALL)


def test_packets_without_an_event_pass_whatever_the_limit() -> None:
    welcome = v2.encode_json(v2.WELCOME, {"server": "x" * 4000})
    assert isinstance(v2.decode(welcome, SMALL), v2.Greeting)
    assert len(welcome) <= v2.max_message(SMALL)
    with pytest.raises(InvalidPacket, match="a value may have 4096 bytes"):
        v2.decode(v2.encode_json(v2.WELCOME, {"server": "x" * 5000}), SMALL)


def test_a_hello_has_a_limit_of_its_own() -> None:
    hello = v2.encode_json(v2.HELLO, {"id": "x", "type": "t", "endpoints": ["x" * 5000]})
    assert isinstance(v2.decode(hello, SMALL), v2.Greeting)
    with pytest.raises(InvalidPacket, match="a value may have 100 bytes"):
        v2.decode(hello, Options(max_introduction=100))


def test_the_largest_packet_fits_the_largest_message() -> None:
    options = Options(max_event=100, max_payload=5000)
    packet = v2.encode("e" * 100, "x" * 5000, v2.DURABLE | v2.TIME, number=1)
    assert len(packet) == v2.max_message(options)
    assert isinstance(v2.decode(packet, options), v2.Packet)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**63,
        "\ud800",
        {"a": "\ud800"},
        ["\udc00"],
        {"\ud800": 1},
        {1, 2},
        (1,),
        {"a": object()},
        object(),
    ],
)
def test_values_that_cannot_travel(value: Any) -> None:
    with pytest.raises(EncodeError):
        v2.encode("e", value)


def test_what_can_be_sent_is_said() -> None:
    with pytest.raises(EncodeError, match=r"type set cannot be sent with protocol v2; send bytes, .*float.* or None"):
        v2.encode_value({1})


@pytest.mark.parametrize("event", ["\ud800", "x" * 65536, 5])
def test_events_that_cannot_travel(event: Any) -> None:
    with pytest.raises(EncodeError):
        v2.encode(event, 1)


def test_json_is_written_in_utf8() -> None:
    assert v2.encode_value({"s": "\U0001f600\u00e9"}) == (4, '{"s": "\U0001f600\u00e9"}'.encode())
    assert '"info": {"origin": "\u00e9"}}'.encode() in v2.encode_problem(
        ErrorCode.ORIGIN_NOT_ALLOWED, {"origin": "\u00e9"}
    )


def test_a_problem_leaves_out_what_is_no_text() -> None:
    packet = v2.encode_problem(ErrorCode.CLIENT_INVALID_ENDPOINTS, {"endpointId": "\ud800"})
    assert v2.decode(packet) == v2.Problem("client_invalid_endpoints", None)


def test_fields_that_are_not_json() -> None:
    with pytest.raises(EncodeError):
        v2.encode_json(v2.HELLO, {"id": float("nan")})


def test_unsupported_packets_say_who_needs_what() -> None:
    with pytest.raises(UnsupportedPacket, match="no type 24; who sent it needs a newer iotio") as caught:
        v2.decode(bytes((24, 0, 0, 0, 0, 0, 0, 0)))
    assert (caught.value.what, caught.value.value) == ("type", 24)
    with pytest.raises(UnsupportedPacket) as caught:
        v2.decode(bytes((3, 0xA1, 0, 0, 0, 0, 0, 0)))
    assert (caught.value.what, caught.value.value) == ("flag", 0xA0)


def test_value_types_are_pinned() -> None:
    kinds: list[tuple[Value, int]] = [(b"", 0), (True, 1), (1, 2), ("", 3), ({}, 4), ([], 4), (1.0, 5), (None, 6)]
    for value, kind in kinds:
        assert v2.encode_value(value)[0] == kind


@pytest.mark.parametrize("time", [-1, v2.MAX_TIME + 1])
def test_a_time_outside_of_1970_to_9999_cannot_be_sent(time: int) -> None:
    with pytest.raises(EncodeError, match="within the years 1970 to 9999"):
        v2.encode("e", 1, v2.TIME, time=time)


def test_dates_are_exact_to_the_end() -> None:
    assert v2.date_of(v2.MAX_TIME).isoformat() == "9999-12-31T23:59:59.999000+00:00"

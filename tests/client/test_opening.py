"""HELLO and WELCOME of protocol v2, from the device's side."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_client.identity import Identity
from iotio_client.opening import NO_WELCOME, Welcome, hello, read_welcome
from iotio_protocol import v2
from iotio_protocol.errors import EncodeError, InvalidPacket
from iotio_protocol.stream import MAX_UNACKNOWLEDGED, Incoming
from iotio_protocol.v2_session import read_hello
from iotio_protocol.version import __version__

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def fields_of(packet: bytes) -> dict[str, object]:
    """What a HELLO says."""
    decoded = v2.decode(packet)
    assert isinstance(decoded, v2.Greeting)
    assert not decoded.welcome
    return decoded.fields


def test_what_is_empty_is_left_out() -> None:
    packet = hello(Identity("d1", "lamp", {}), sends=None, heard=Incoming())
    assert fields_of(packet) == {"id": "d1", "type": "lamp", "library": f"iotio_client {__version__}"}


def test_everything_is_said() -> None:
    declaration: dict[str, object] = {"id": "level", "type": "integer"}
    identity = Identity("küche", "lamp", {"room": "Küche"}, {"level": declaration})
    assert fields_of(hello(identity, sends="mine", heard=Incoming("theirs", 7))) == {
        "id": "küche",
        "type": "lamp",
        "data": {"room": "Küche"},
        "endpoints": [declaration],
        "library": f"iotio_client {__version__}",
        "sends": "mine",
        "heard": {"stream": "theirs", "upto": 7},
    }


@given(
    st.dictionaries(st.text(), JSON, max_size=3),
    st.none() | st.text("aZ09_.-", min_size=1, max_size=64),
    st.none() | st.tuples(st.text("abc", min_size=1, max_size=64), st.integers(0, v2.MAX_NUMBER)),
)
def test_the_server_reads_what_the_device_says(
    data: dict[str, object], sends: str | None, known: tuple[str, int] | None
) -> None:
    packet = hello(Identity("d1", "lamp", data), sends=sends, heard=Incoming(*known or ()))
    greeting = read_hello(fields_of(packet))
    assert (greeting.hello.id, greeting.hello.type, greeting.hello.data) == ("d1", "lamp", data)
    assert (greeting.sends, greeting.heard) == (sends, known or (None, 0))
    assert greeting.library == f"iotio_client {__version__}"


@pytest.mark.parametrize(
    "identity",
    [
        Identity("d1", "lamp", {"size": {1, 2}}),
        Identity("d1", "lamp", {"size": float("nan")}),
        Identity("d1", "lamp", {}, {"level": {"id": object()}}),
    ],
)
def test_what_is_no_json_is_named(identity: Identity) -> None:
    with pytest.raises(EncodeError, match="client_data and the endpoint declarations must be JSON: "):
        hello(identity, sends=None, heard=Incoming())


def test_a_welcome_that_says_nothing_has_the_defaults() -> None:
    assert read_welcome({}) == NO_WELCOME == Welcome("", None, None, (None, 0), 0xFFFF, 0xFFFFFFFF, MAX_UNACKNOWLEDGED)
    assert read_welcome({"server": 5, "time": None, "max_event": None, "new in 2030": [1]}) == NO_WELCOME


def test_a_welcome_that_says_everything() -> None:
    fields: dict[str, object] = {
        "server": "iotio 9",
        "time": 0,
        "sends": "theirs",
        "heard": {"stream": "mine", "upto": 3},
        "max_event": 1,
        "max_payload": 2,
        "max_unacknowledged": 3,
    }
    assert read_welcome(fields) == Welcome("iotio 9", 0, "theirs", ("mine", 3), 1, 2, 3)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"time": -1}, "'time' must be milliseconds since 1970"),
        ({"time": 253_402_300_800_000}, "'time' must be milliseconds since 1970"),
        ({"time": 1.5}, "'time' must be a number without a fraction"),
        ({"time": True}, "'time' must be a number without a fraction"),
        ({"max_event": 0}, "'max_event' must be 1 or more"),
        ({"max_payload": -5}, "'max_payload' must be 1 or more"),
        ({"max_unacknowledged": "many"}, "'max_unacknowledged' must be a number without a fraction"),
        ({"sends": ""}, "name of a stream"),
        ({"sends": 5}, "name of a stream"),
        ({"heard": []}, "'heard' must be an object"),
        ({"heard": {"stream": "mine", "upto": -1}}, "'upto' must be a whole number"),
        ({"heard": {"stream": 5, "upto": 1}}, "name of a stream"),
        ({"heard": {"stream": "mine", "upto": v2.MAX_NUMBER}}, "'upto' must be at most 4503599627370495"),
        ({"ping_interval": -1}, "'ping_interval' must be seconds, 0 or more and at most 1000000000"),
        ({"ping_interval": "20"}, "'ping_interval' must be a number"),
        ({"ping_timeout": True}, "'ping_timeout' must be a number"),
        ({"ping_timeout": 1e300}, "'ping_timeout' must be seconds, 0 or more"),
        ({"max_event": 1 << 53}, "'max_event' must be at most 9007199254740991"),
        ({"max_payload": 10**400}, "'max_payload' must be at most 9007199254740991"),
        ({"max_unacknowledged": 1e300}, "'max_unacknowledged' must be a number without a fraction"),
    ],
)
def test_a_welcome_that_is_wrong(fields: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidPacket, match=text):
        read_welcome(fields)


def test_seconds_may_be_whole_or_not() -> None:
    welcome = read_welcome({"ping_interval": 30, "ping_timeout": 2.5})
    assert (welcome.ping_interval, welcome.ping_timeout) == (30, 2.5)
    assert (NO_WELCOME.ping_interval, NO_WELCOME.ping_timeout) == (20, 10)


NAMES = ["server", "time", "sends", "heard", "ping_interval", "ping_timeout"]
NAMES += ["max_event", "max_payload", "max_unacknowledged"]


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), JSON))
def test_reading_a_welcome_raises_one_error_only(fields: dict[str, Any]) -> None:
    try:
        welcome = read_welcome(fields)
    except InvalidPacket:
        return
    assert min(welcome.max_event, welcome.max_payload, welcome.max_unacknowledged) >= 1
    assert (welcome.max_event, welcome.max_unacknowledged) <= (0xFFFF, MAX_UNACKNOWLEDGED)
    assert welcome.time is None or welcome.time >= 0

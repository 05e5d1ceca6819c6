"""Text packets, on the original's own vectors and beyond them."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol import v0
from iotio_protocol.errors import EncodeError, InvalidPacket
from iotio_protocol.options import Options
from tests.protocol.vectors import load, revive

VECTORS = load("v0_packets.json")
PARSE = VECTORS["parse_message (identical in all three)"]

# Where `encode` differs from the originals on purpose. Key: event and value of a vector; value: what is
# written instead, or EncodeError, and why. All of these lost the value or changed it on the way.
BRACKETS = "a bracket inside an argument ends or splits it"
DIFFERENCES: dict[tuple[str, str], tuple[str | type[EncodeError], str]] = {
    ("echo", "{'a': {'b': [1, 2]}}"): (EncodeError, BRACKETS + "; JSON has no other spelling for a list"),
    ("echo", "'a[b]c'"): (r'[/"echo"/][/""a\u005bb\u005dc""/]', BRACKETS + ": sent as a JSON string"),
    ("echo", "'[/\"x\"/]'"): (
        r'[/"echo"/][/""\u005b/\"x\"/\u005d""/]',
        BRACKETS + "; the original even lets a value pose as a further argument",
    ),
    ("echo", "'[1]'"): (r'[/"echo"/][/""\u005b1\u005d""/]', BRACKETS + ": sent as a JSON string"),
    ("e[v", "'x'"): (EncodeError, BRACKETS + "; an event's name is not JSON, so it has no other spelling"),
}
# 0.2.1 to 0.3.1 sent BINARY frames of ASCII with everything else left out; we write what 0.2.0 wrote.
NOT_FOR_031 = {"é漢", "év"}
# 0.3.1 alone let bytes through, as text in some encoding; no device library could tell.
BYTES_OF_031 = (bytes,)
# NaN and Infinity are not JSON; they stay the text they are.
NOT_JSON = {"NaN", "-Infinity"}


def encode_cases() -> list[tuple[str, dict[str, Any]]]:
    names = ("client_0.1.0_encode", "server_0.2.0_encode", "server_0.3.1_encode")
    return [(name, case) for name in names for case in VECTORS[name]]


# The vectors.


@pytest.mark.parametrize(("source", "case"), encode_cases(), ids=lambda case: case if isinstance(case, str) else None)
def test_encode_writes_what_the_originals_wrote(source: str, case: dict[str, Any]) -> None:
    event, value = case["event"], revive(case["value"])
    different, _ = DIFFERENCES.get((event, repr(value)), (None, ""))
    if different is EncodeError or "raises" in case or isinstance(value, BYTES_OF_031):
        with pytest.raises(EncodeError):
            v0.encode(event, value)
    elif different is not None:
        assert v0.encode(event, value) == different
        assert v0.decode(str(different)) == (event, value)
    elif "0.3.1" in source and {event, value if isinstance(value, str) else ""} & NOT_FOR_031:
        assert case["payload"].isascii()
        assert v0.encode(event, value).encode("ascii", "ignore").decode() == case["payload"]
    else:
        assert v0.encode(event, value) == case["payload"]
        assert v0.encode(event, value).encode().hex() == case["hex"]


@pytest.mark.parametrize(("source", "case"), encode_cases(), ids=lambda case: case if isinstance(case, str) else None)
def test_decode_reads_what_the_originals_wrote(source: str, case: dict[str, Any]) -> None:
    if "payload" not in case:
        return
    if case["reparsed_event"] is None:
        with pytest.raises(InvalidPacket):
            v0.decode(case["payload"])
        return
    event, value = v0.decode(case["payload"])
    assert (event, value) == (case["reparsed_event"], revive(case["reparsed_message"]))
    assert type(value).__name__ == case["reparsed_pytype"]


def test_every_deliberate_difference_is_used() -> None:
    seen = {(case["event"], repr(revive(case["value"]))) for _, case in encode_cases()}
    assert seen >= set(DIFFERENCES)


@pytest.mark.parametrize("case", PARSE, ids=lambda case: case["text"] or "empty")
def test_decode_reads_as_the_originals_did(case: dict[str, Any]) -> None:
    if case["event"] is None:
        with pytest.raises(InvalidPacket, match=f"2 arguments are needed, {len(case['args'])} were found"):
            v0.decode(case["text"])
        return
    event, value = v0.decode(case["text"])
    assert event == case["event"]
    if case["args"][1] in NOT_JSON:
        assert value == case["args"][1]
    else:
        assert value == revive(case["message"])
        assert type(value).__name__ == case["pytype"]


@pytest.mark.parametrize("case", VECTORS["handshake"], ids=lambda case: case["payload"])
def test_handshakes(case: dict[str, Any]) -> None:
    good = len(case["server_parse"]) == 3
    if good:
        assert v0.encode_handshake(case["id"], case["type"], case["data"]) == case["payload"]
        assert case["payload"].encode().hex() == case["hex"]
        assert list(v0.decode_handshake(case["payload"])) == case["server_parse"]
    else:
        with pytest.raises(EncodeError):
            v0.encode_handshake(case["id"], case["type"], case["data"])
        with pytest.raises(InvalidPacket, match="3 arguments are needed, 2 were found"):
            v0.decode_handshake(case["payload"])


def text_frames(frames: list[dict[str, Any]]) -> list[str]:
    return [bytes.fromhex(frame["hex"]).decode() for frame in frames if frame["op"] == "text" and "hex" in frame]


@pytest.mark.parametrize("server", sorted(load("v0_wire.json")["real_client_0.1.0_captures"]))
def test_what_the_real_client_sent(server: str) -> None:
    for connection in load("v0_wire.json")["real_client_0.1.0_captures"][server]:
        sent = text_frames(connection["c2s"]["frames"])
        if not sent:
            continue
        client_id, client_type, data = v0.decode_handshake(sent[0])
        assert v0.encode_handshake(client_id, client_type, json.loads(data)) == sent[0]
        for text in sent[1:]:
            if text.count("[") == 2:  # the rest the original lost
                assert v0.decode(text)[0]


# What each value becomes on the way, device to server or back.


@pytest.mark.parametrize(
    ("value", "text", "back"),
    [
        ("hello", "hello", "hello"),
        ("", "", ""),
        (7, "7", 7),
        (-1.5, "-1.5", -1.5),
        (True, "True", "True"),
        (False, "False", "False"),
        ("5", "5", 5),
        ("true", "true", True),
        ("null", "null", None),
        (" 7 ", " 7 ", 7),
        ("05", "05", "05"),
        ('"q"', '"q"', "q"),
        (math.inf, "inf", "inf"),
        ({"a": {"b": 1}}, '{"a": {"b": 1}}', {"a": {"b": 1}}),
        ({"k[0]": "a[b]"}, r'{"k\u005b0\u005d": "a\u005bb\u005d"}', {"k[0]": "a[b]"}),
        ("]", r'"\u005d"', "]"),
        ('["x"]', r'"\u005b\"x\"\u005d"', '["x"]'),
        ("é[", r'"\u00e9\u005b"', "é["),
    ],
    ids=repr,
)
def test_values_on_the_way(value: Any, text: str, back: Any) -> None:
    packet = f'[/"ev"/][/"{text}"/]'
    assert v0.encode("ev", value) == packet
    event, read = v0.decode(packet)
    assert (event, read) == ("ev", back)
    assert type(read) is type(back)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"ab",
        bytearray(b"ab"),
        [],
        [1],
        (1,),
        {"a": [1]},
        {"a": {"b": (1,)}},
        {"a": {1}},
        object(),
        "\ud800",
    ],
    ids=repr,
)
def test_values_that_cannot_travel(value: Any) -> None:
    with pytest.raises(EncodeError):
        v0.encode("e", value)


@pytest.mark.parametrize("value", [10**5000, {"n": math.nan}, {"n": 10**5000}], ids=["digits", "NaN", "digits in dict"])
def test_numbers_that_cannot_travel(value: Any) -> None:
    with pytest.raises(EncodeError):
        v0.encode("e", value)


def test_what_contains_itself_cannot_travel() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(EncodeError, match=r"[Cc]ircular"):
        v0.encode("e", loop)


@pytest.mark.parametrize("event", [None, 5, b"e", "a[", "]a", "\ud800"], ids=repr)
def test_events_that_cannot_travel(event: Any) -> None:
    with pytest.raises(EncodeError):
        v0.encode(event, "x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        '[/"a"/]',
        '[/"a"/][/"b"/][/"c"/]',
        '[/"a/][/"b"/]',
        '[/"e"/][/"[1]"/]',
        "[" * 1000,
        '[/"' * 1000,
    ],
    ids=lambda text: text[:20] or "empty",
)
def test_not_two_arguments(text: str) -> None:
    with pytest.raises(InvalidPacket, match="2 arguments are needed"):
        v0.decode(text)


def test_counting_arguments_ends_early() -> None:
    with pytest.raises(InvalidPacket, match="2 arguments are needed, 5 or more were found"):
        v0.decode('[/"a"/]' * 100_000)


def test_limits_are_inclusive_and_count_bytes() -> None:
    options = Options(max_event=4, max_payload=4)
    assert v0.decode('[/"éé"/][/"éé"/]', options) == ("éé", "éé")
    with pytest.raises(InvalidPacket, match="an event's name may have 4 bytes"):
        v0.decode('[/"ééé"/][/"x"/]', options)
    with pytest.raises(InvalidPacket, match="a value may have 4 bytes"):
        v0.decode('[/"e"/][/"ééé"/]', options)


@pytest.mark.parametrize("text", ["[" * 3000 + "]" * 3000, '{"a":' * 100_000 + "1" + "}" * 100_000, "1" * 5000])
def test_json_that_cannot_be_read_stays_text(text: str) -> None:
    if "[" in text:
        with pytest.raises(InvalidPacket):
            v0.decode(f'[/"e"/][/"{text}"/]')
    else:
        assert v0.decode(f'[/"e"/][/"{text}"/]') == ("e", text)


def test_handshake_data_stays_the_text_that_was_sent() -> None:
    assert v0.decode_handshake('[/"a"/][/"b"/][/"{"n": 1}"/]') == ("a", "b", '{"n": 1}')
    assert v0.decode_handshake('x[/"a"/] [/"b"/],[/"no json"/]!') == ("a", "b", "no json")


def test_handshake_data_may_have_brackets_in_its_strings() -> None:
    text = v0.encode_handshake("a", "b", {"room": "[1]"})
    assert text == r'[/"a"/][/"b"/][/"{"room": "\u005b1\u005d"}"/]'
    assert v0.decode_handshake(text)[2] == r'{"room": "\u005b1\u005d"}'


@pytest.mark.parametrize(
    ("client_id", "client_type", "data"),
    [("[", "t", {}), ("i", "]", {}), ("i", "t", {"a": [1]}), ("i", "t", {"a": {1}})],
)
def test_handshakes_that_cannot_travel(client_id: str, client_type: str, data: dict[str, object]) -> None:
    with pytest.raises(EncodeError):
        v0.encode_handshake(client_id, client_type, data)


@pytest.mark.parametrize(("client_id", "client_type"), [("\ud800", "t"), ("i", "\udfff"), (5, "t"), ("i", None)])
def test_ids_and_types_that_cannot_travel(client_id: Any, client_type: Any) -> None:
    with pytest.raises(EncodeError):
        v0.encode_handshake(client_id, client_type, {})


# Properties.

PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]"), max_size=40)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TREES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | NUMBERS | st.text(),
        lambda inner: st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)
BRACKETED = st.text(max_size=20).map(lambda text: f"{text}[{text}]")


@given(PLAIN, NUMBERS | TREES | BRACKETED)
def test_round_trip(event: str, value: Any) -> None:
    back_event, back = v0.decode(v0.encode(event, value), Options(max_event=4096))
    assert (back_event, back) == (event, value)
    assert type(back) is type(value)


@given(PLAIN, PLAIN)
def test_a_text_arrives_as_itself_or_as_the_json_it_looks_like(event: str, value: str) -> None:
    back_event, back = v0.decode(v0.encode(event, value), Options(max_event=4096))
    assert back_event == event
    assert back == value or (type(back) is not str or back == value.strip(" \t\r\n")[1:-1] or "\\" in value)


@given(PLAIN, PLAIN, TREES)
def test_handshake_round_trip(client_id: str, client_type: str, data: dict[str, Any]) -> None:
    text = v0.encode_handshake(client_id, client_type, data)
    back_id, back_type, back_data = v0.decode_handshake(text)
    assert (back_id, back_type) == (client_id, client_type)
    assert v0.decode(f'[/"e"/][/"{back_data}"/]') == ("e", data)


PIECES = st.lists(st.sampled_from(['[/"', '"/]', "[", "]", '"', "/", "a", "{", "}", "1", "\n", "é", "\ud800"])).map(
    "".join
)


@given(PIECES | st.text(st.characters(exclude_categories=[])))
def test_any_text_is_read_or_is_an_invalid_packet(text: str) -> None:
    for read in (v0.decode, v0.decode_handshake):
        try:
            read(text)
        except InvalidPacket as error:
            assert error.problem


@given(PIECES | st.from_type(object), PIECES | st.from_type(object) | TREES)
def test_what_cannot_be_encoded_is_an_encode_error(event: Any, value: Any) -> None:
    try:
        text = v0.encode(event, value)
    except EncodeError:
        return
    text.encode()
    assert v0.decode(text, Options(max_event=4096))[0] == event


def test_bytes_of_the_originals_were_text_in_disguise() -> None:
    """What 0.3.1 did with bytes, for the record: no device library of the time could send or read them."""
    cases = [case for _, case in encode_cases() if "$b64" in str(case["value"])]
    assert {base64.b64decode(case["value"]["$b64"]) for case in cases} == {b"\x00\xff", b"ab"}

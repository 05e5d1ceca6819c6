"""The headers of the upgrade request, on the original's own vectors and beyond them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol.errors import ErrorCode, HandshakeError
from iotio_protocol.handshake import Hello, Upgrade, device_headers, parse_headers
from iotio_protocol.options import Options
from iotio_protocol.origins import Foreign
from tests.protocol.vectors import load

VECTORS = load("v1_handshake.json")
# Requests that are judged by their headers alone, and have them in the vector (not as a hint to a tool).
CASES = [
    case
    for case in VECTORS["cases"]
    if isinstance(case["request"]["headers"], list) and case["outcome_0.4.10"]["status"] == 101
]

# Where we differ from what 0.4.10 did, on purpose; each is the vector's own `recommended`.
V0 = "no IoT-IO-* header at all: a v0 device, which is not refused"
DIFFERENCES = {
    "missing_all": V0,
    "gen0_style_no_headers_text": V0,
    "empty_id": "a device without a name cannot be addressed: client_no_id",
    "headers_lowercase": "header names have no case (RFC 9110, 5.1)",
    "headers_uppercase": "header names have no case (RFC 9110, 5.1)",
}
# Codes that are found after this module: is the type known, are the declarations right.
LATER = {"client_invalid_type", "client_invalid_endpoints"}


def headers(*pairs: tuple[str, str], **changed: str | None) -> list[tuple[str, str]]:
    """The headers of a device that is let in, some of them changed or, with None, left out."""
    default: dict[str, str | None] = {
        "Id": "dev1",
        "Type": "echo",
        "Data": "{}",
        "Endpoints": "[]",
        "ProtocolVersion": "1",
    }
    named = {**default, **changed}
    return [(f"IoT-IO-{name}", value) for name, value in named.items() if value is not None] + list(pairs)


def refusal(found: dict[str, str]) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        parse_headers(found)
    return caught.value


# The vectors.


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_header_vectors(case: dict[str, Any]) -> None:
    found = device_headers([(name, value) for name, value in case["request"]["headers"]])
    packets = case["outcome_0.4.10"]["packets"]
    name = case["name"]
    if name in ("missing_all", "gen0_style_no_headers_text"):
        assert found == {}
        assert packets[0]["value"]["error"] == "client_no_id"
    elif name == "empty_id":
        assert packets == []
        assert refusal(found).code is ErrorCode.CLIENT_NO_ID
    elif name in ("headers_lowercase", "headers_uppercase"):
        assert packets[0]["value"]["error"] == "client_no_id"
        assert parse_headers(found).id == "dev1"
    elif name in ("id_4000", "id_8192"):
        assert refusal(found).info == {"limit": "max_id", "most": 256, "size": int(name[3:])}
    elif packets and (packets[0]["value"]["error"] not in LATER or "invalid_json" in str(packets[0]["value"])):
        error = refusal(found)
        assert {"error": error.code.value, "info": error.info} == packets[0]["value"]
    else:
        check_hello(parse_headers(found), case)


def check_hello(hello: Hello, case: dict[str, Any]) -> None:
    sent = dict(case["request"]["headers"])
    assert hello.version == 1
    assert hello.type == sent["IoT-IO-Type"].strip()
    assert hello.endpoints == json.loads(sent.get("IoT-IO-Endpoints", "[]"))
    seen = case["client_data_seen"]
    if seen is not None:
        assert (hello.id, hello.type, hello.data) == (seen["id"], seen["type"], seen["data"])
        assert type(hello.data).__name__ == seen["data_type"]


def test_the_deliberate_differences_are_recommended() -> None:
    recommended = {case["name"]: case["recommended"] for case in CASES}
    assert set(DIFFERENCES) <= set(recommended)
    for name in DIFFERENCES:
        assert recommended[name] != "same"


@pytest.mark.parametrize("client", sorted(VECTORS["real_client_captures"]))
def test_requests_of_the_real_clients(client: str) -> None:
    for capture in VECTORS["real_client_captures"][client]:
        pairs = [tuple(line.split(": ", 1)) for line in capture["upgrade_request"][1:]]
        hello = parse_headers(device_headers([(name, value) for name, value in pairs]))
        assert hello.version == 1
        assert isinstance(hello.data, dict)
        assert isinstance(hello.endpoints, list)


# Choice of the version, and the headers themselves.


def test_no_device_header_means_v0() -> None:
    assert device_headers([("Host", "a"), ("User-Agent", "Python/3.7 websockets/8.1"), ("X-IoT-IO-Id", "a")]) == {}


@pytest.mark.parametrize("name", ["IoT-IO-Id", "iot-io-foo", "IOT-IO-PROTOCOLVERSION", "Iot-Io-"])
def test_any_device_header_means_v1(name: str) -> None:
    found = device_headers([("Host", "a"), (name, "x")])
    assert found == {name[7:].lower(): "x"}
    if "Id" not in name:
        assert refusal(found).code is ErrorCode.CLIENT_NO_ID


def test_the_last_of_repeated_headers_counts() -> None:
    assert device_headers([("IoT-IO-Id", "a"), ("iot-io-id", "b")]) == {"id": "b"}


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("dev", "dev"),
        ("küche".encode(), "küche"),
        ("漢字😀".encode(), "漢字😀"),
        ("küche".encode("latin-1"), "küche"),
        (b"\xff\xfe", "ÿþ"),
        (b" \t dev 1 \t ", "dev 1"),
    ],
)
def test_values_are_utf8_where_they_can_be_and_latin_1_else(raw: bytes | str, text: str) -> None:
    value = raw if isinstance(raw, str) else raw.decode("latin-1")
    assert device_headers([("IoT-IO-Id", value)]) == {"id": text}


def test_a_value_that_a_server_decoded_already_stays() -> None:
    assert device_headers([("IoT-IO-Id", "漢字")]) == {"id": "漢字"}


# The checks, in their order.


def test_data_and_endpoints_may_be_left_out() -> None:
    hello = parse_headers(device_headers(headers(Data=None, Endpoints=None)))
    assert hello == Hello(id="dev1", type="echo", data={}, endpoints=[], version=1)


BAD: list[tuple[str, str | None, ErrorCode]] = [
    ("Id", None, ErrorCode.CLIENT_NO_ID),
    ("Type", None, ErrorCode.CLIENT_NO_TYPE),
    ("ProtocolVersion", None, ErrorCode.CLIENT_NO_PROTOCOL_VERSION),
    ("Data", "{", ErrorCode.CLIENT_INVALID_DATA),
    ("Endpoints", "[", ErrorCode.CLIENT_INVALID_ENDPOINTS),
    ("ProtocolVersion", "2", ErrorCode.CLIENT_INCOMPATIBLE_PROTOCOL_VERSION),
]


@pytest.mark.parametrize("first", range(len(BAD)))
def test_the_first_check_that_fails_decides(first: int) -> None:
    changed: dict[str, str | None] = {}
    for name, value, _ in reversed(BAD[first:]):
        changed[name] = value
    assert refusal(device_headers(headers(("IoT-IO-Other", "x"), **changed))).code is BAD[first][2]


@pytest.mark.parametrize("version", ["", "0", "01", "1.0", "v1", "2", "10", "1, 1", "one", "\u0661"])
def test_only_version_1_is_spoken(version: str) -> None:
    error = refusal(device_headers(headers(ProtocolVersion=version)))
    assert error.code is ErrorCode.CLIENT_INCOMPATIBLE_PROTOCOL_VERSION
    assert error.info is None


@pytest.mark.parametrize("text", ["", "{bad", "NaN", '{"a": Infinity}', "[" * 10_000, "1" * 5000, "\ufeff{}"])
def test_bad_json(text: str) -> None:
    assert refusal(device_headers(headers(Data=text))).code is ErrorCode.CLIENT_INVALID_DATA
    error = refusal(device_headers(headers(Endpoints=text)))
    assert error.code is ErrorCode.CLIENT_INVALID_ENDPOINTS
    assert error.info == {"endpointId": "", "endpointProblem": "invalid_json"}


@pytest.mark.parametrize("text", ["null", "5", '"s"', "[1, 2]", '{"a": {"b": [1, 2.5, null]}}'])
def test_any_json_value_is_data(text: str) -> None:
    assert parse_headers(device_headers(headers(Data=text))).data == json.loads(text)


def test_endpoints_are_handed_on_unchecked() -> None:
    for text in ("null", "5", '{"id": "x"}', "[null]"):
        assert parse_headers(device_headers(headers(Endpoints=text))).endpoints == json.loads(text)


# Properties.

NAMES = st.sampled_from(["IoT-IO-Id", "iot-io-type", "IoT-IO-Data", "IoT-IO-Endpoints", "IoT-IO-ProtocolVersion"])
VALUES = st.sampled_from(["1", "{}", "[]", "", "x"]) | st.text(st.characters(exclude_categories=[]))


@given(st.lists(st.tuples(NAMES | st.text(), VALUES)))
def test_any_headers_are_read_or_are_a_handshake_error(pairs: list[tuple[str, str]]) -> None:
    found = device_headers(pairs)
    try:
        hello = parse_headers(found)
    except HandshakeError as error:
        assert error.code is not ErrorCode.CLIENT_INVALID_PACKET
    else:
        assert hello.id
        assert hello.version == 1


@given(st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Z", "Cc"]), min_size=1))
def test_any_printable_id_arrives_as_it_is(client_id: str) -> None:
    raw = client_id.encode().decode("latin-1")
    assert parse_headers(device_headers(headers(Id=raw))).id == client_id


# The request.


def test_a_request_with_device_headers_is_that_of_a_program() -> None:
    headers = [("Origin", "http://evil.example"), ("Host", "iot.example"), ("IoT-IO-Id", "d1")]
    offer = [*headers, ("Sec-WebSocket-Protocol", "iotio.v9")]
    for asked in (headers, offer):
        assert Upgrade.of(asked, Options(), None) == Upgrade({"id": "d1"}, None, None)
    stranger = Foreign("allowed_origins", "http://evil.example")
    assert Upgrade.of([*headers, ("Cookie", "a=b")], Options(), None) == Upgrade({"id": "d1"}, stranger, None)


def test_a_request_without_them_names_its_page_and_what_it_offered() -> None:
    headers = [("Origin", "http://evil.example"), ("Host", "iot.example")]
    assert Upgrade.of(headers, Options(), None) == Upgrade({}, Foreign("allowed_origins", "http://evil.example"), None)
    assert Upgrade.of(headers, Options(allowed_origins=["*"]), None) == Upgrade({}, None, None)
    headers = [("Sec-WebSocket-Protocol", "chat"), ("SEC-WEBSOCKET-PROTOCOL", "iotio.v9, iotio.v8")]
    assert Upgrade.of(headers, Options(), None) == Upgrade({}, None, "iotio.v9, iotio.v8")
    assert Upgrade.of(headers, Options(), "iotio.v2") == Upgrade({}, None, None)
    assert Upgrade.of(headers[:1], Options(), None) == Upgrade({}, None, None)


def test_a_device_is_told_what_is_spoken_or_that_nothing_was_agreed() -> None:
    assert Upgrade({}, None, "iotio.v9").not_agreed() == {"asked": "iotio.v9", "spoken": "iotio.v2"}
    assert Upgrade({}, None, "x, iotio.v2").not_agreed() == {"asked": "x, iotio.v2", "agreed": None}
    assert Upgrade({}, None, "iotio." + "x" * 100).not_agreed()["asked"] == "iotio." + "x" * 34
    assert Upgrade({}, None, None).not_agreed() == {"asked": "", "spoken": "iotio.v2"}


# Limits.

LIMITED = Options(max_introduction=60, max_data=20, max_id=8)


def refused_by(limits: Options, **changed: str | None) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        parse_headers(device_headers(headers(**changed)), limits)
    return caught.value


@pytest.mark.parametrize(
    ("changed", "code", "limit", "most", "size"),
    [
        ({"Id": "i" * 9}, ErrorCode.CLIENT_NO_ID, "max_id", 8, 9),
        ({"Id": "ü" * 5}, ErrorCode.CLIENT_NO_ID, "max_id", 8, 10),
        ({"Type": "t" * 9}, ErrorCode.CLIENT_INVALID_TYPE, "max_id", 8, 9),
        ({"Data": '"' + "d" * 19 + '"'}, ErrorCode.CLIENT_INVALID_DATA, "max_data", 20, 21),
        ({"Data": "[" * 21}, ErrorCode.CLIENT_INVALID_DATA, "max_data", 20, 21),
        ({"Endpoints": "[" * 50}, ErrorCode.CLIENT_INVALID_DATA, "max_introduction", 60, 61),
    ],
)
def test_what_is_too_large_is_refused_and_the_limit_named(
    changed: dict[str, str], code: ErrorCode, limit: str, most: int, size: int
) -> None:
    error = refused_by(LIMITED, **changed)
    assert error.code is code
    assert error.info == {"limit": limit, "most": most, "size": size}


def test_what_is_as_large_as_may_be_passes() -> None:
    found = device_headers(headers(Id="i" * 8, Type="ü" * 4, Data='"' + "d" * 18 + '"', Endpoints="[" + " " * 21 + "]"))
    assert parse_headers(found, LIMITED).id == "i" * 8

"""Who a device says it is."""

from __future__ import annotations

from typing import Any

import pytest

from iotio_client.identity import Identity
from iotio_protocol.errors import EncodeError
from iotio_protocol.handshake import device_headers, parse_headers


def test_headers() -> None:
    identity = Identity("d1", "t", {"k": "é"}, {"e": {"id": "e", "specialId": None}})
    assert identity.headers() == [
        ("IoT-IO-Id", "d1"),
        ("IoT-IO-Type", "t"),
        ("IoT-IO-Data", '{"k": "\\u00e9"}'),
        ("IoT-IO-Endpoints", '[{"id": "e", "specialId": null}]'),
        ("IoT-IO-ProtocolVersion", "1"),
    ]


def test_server_reads_them() -> None:
    identity = Identity("küche 漢", "té", {"a": [1]})
    on_the_wire = [(name, value.encode().decode("latin-1")) for name, value in identity.headers()]
    hello = parse_headers(device_headers(on_the_wire))
    assert (hello.id, hello.type, hello.data, hello.endpoints) == ("küche 漢", "té", {"a": [1]}, [])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((5, "t", {}), "client_id must be a str."),
        (("x", 5, {}), "client_type must be a str."),
        (("x", "t", []), "client_data must be a dict."),
        (("x", "t", "s"), "client_data must be a dict."),
        (("a\r\nX-Injected: yes", "t", {}), "client_id must not hold line breaks"),
        (("a", "t\n", {}), "client_type must not hold line breaks"),
        (("a\x00", "t", {}), "control characters"),
        (("\ud800", "t", {}), "lone surrogates"),
        (("a", "\udfff", {}), "lone surrogates"),
    ],
)
def test_wrong_identities(arguments: tuple[Any, Any, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Identity(*arguments)


@pytest.mark.parametrize("data", [{"a": float("nan")}, {"a": object()}, {"a": b"x"}])
def test_data_must_be_json(data: dict[str, object]) -> None:
    with pytest.raises(EncodeError, match="client_data must be JSON"):
        Identity("a", "t", data).headers()


def test_v0_handshake() -> None:
    assert Identity("a", "t", {"k": 1}).text_handshake() == '[/"a"/][/"t"/][/"{"k": 1}"/]'
    with pytest.raises(EncodeError):
        Identity("a]", "t", {}).text_handshake()

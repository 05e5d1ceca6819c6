"""`iotio.PacketEncoder`: the packet encoder of the original, on its own vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from iotio_protocol import v1
from iotio_protocol.errors import EncodeError, InvalidPacket
from tests.protocol.vectors import load, revive, v1_decode_cases, v1_packets

if TYPE_CHECKING:
    from iotio.compat.PacketEncoder import AbstractPacketEncoder, DefaultPacketEncoder, PacketDataType
else:
    from iotio.PacketEncoder import AbstractPacketEncoder, DefaultPacketEncoder, PacketDataType

DECODE = load("v1_packets_decode.json")
# What the original wrote and nobody should: see tests/protocol/test_v1.py for the reasons.
REFUSED = {"lone surrogate", "NaN/Infinity"}
TYPE_BYTES: list[tuple[Any, str]] = [
    (b"a", "00"),
    (bytearray(b"a"), "00"),
    (True, "01"),
    (1, "02"),
    ("s", "03"),
    ({}, "04"),
    ([], "04"),
    (1.5, "00"),
    (None, "00"),
    ((1,), "00"),
]


@pytest.mark.parametrize("case", v1_packets(), ids=lambda case: case.name)
def test_encode_and_decode_as_the_original(case: Any) -> None:
    if any(words in case.note for words in REFUSED):
        with pytest.raises(EncodeError):
            DefaultPacketEncoder.encode(case.event, case.value)
        return
    packet = DefaultPacketEncoder.encode(case.event, case.value)
    assert type(packet) is bytearray
    assert packet == case.packet
    assert DefaultPacketEncoder.decode(packet) == (case.event, case.read_back)


@pytest.mark.parametrize("case", v1_decode_cases())
def test_decode_follows_the_recommendation(case: dict[str, Any]) -> None:
    if "hex" in case:
        packet = bytes.fromhex(case["hex"])
    else:
        packet = bytes.fromhex("0400046563686f00001770") + b"[" * 3000 + b"]" * 3000
    if case["recommended"].startswith("reject"):
        with pytest.raises(InvalidPacket):
            DefaultPacketEncoder.decode(packet)
    else:
        event, value = DefaultPacketEncoder.decode(packet)
        assert (event, value) == (case["event"], revive(case["value"]))
        assert type(value).__name__ == case["pytype"]


def test_bytes_that_are_not_utf8_are_dropped_where_the_server_refuses_them() -> None:
    packet = bytes.fromhex("0300046563686f00000003c32841")
    assert DefaultPacketEncoder.decode(packet) == ("echo", "(A")
    with pytest.raises(InvalidPacket):
        v1.decode(packet)


def test_a_binary_value_is_bytes_even_from_a_bytearray() -> None:
    event, value = DefaultPacketEncoder.decode(bytearray(bytes.fromhex("0000046563686f000000020102")))
    assert event == "echo"
    assert type(value) is bytes


def test_type_to_byte_table_is_that_of_the_vectors() -> None:
    assert [(repr(value), byte) for value, byte in TYPE_BYTES] == [
        (case["value"], case["byte"]) for case in DECODE["type_to_byte"]
    ]


@pytest.mark.parametrize(("value", "byte"), TYPE_BYTES, ids=lambda case: repr(case))
def test_type_to_byte(value: object, byte: str) -> None:
    found = PacketDataType.type_to_byte(value)
    assert type(found) is bytearray
    assert found.hex() == byte


def test_data_types_are_those_of_the_codec() -> None:
    assert {kind.name: kind.value for kind in PacketDataType} == {kind.name: kind.value for kind in v1.DataType}


def test_the_base_class_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="encode"):
        AbstractPacketEncoder.encode("a", "b")
    with pytest.raises(NotImplementedError, match="decode"):
        AbstractPacketEncoder.decode(b"")


def test_methods_are_static_and_inherited() -> None:
    class Mine(DefaultPacketEncoder):
        pass

    assert Mine.decode(Mine().encode("a", 1)) == ("a", 1)
    assert issubclass(DefaultPacketEncoder, AbstractPacketEncoder)

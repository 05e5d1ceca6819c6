"""The kinds of value that a packet can carry: v2 carries each of them."""

from __future__ import annotations

from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from iotio_protocol import v2
from iotio_protocol.values import Value

SAMPLES = (b"x", bytearray(b"x"), True, 5, 1.5, "x", {"a": 1}, [1], None)


def carry(value: Value) -> Any:
    """Return what comes of a value on its way."""
    packet = v2.decode(v2.encode("ev", value))
    assert isinstance(packet, v2.Packet)
    return packet.value


def test_there_is_a_sample_of_each_kind() -> None:
    kinds = get_args(get_type_hints(carry)["value"])
    assert {get_origin(kind) or kind for kind in kinds} == {type(sample) for sample in SAMPLES}
    assert NoneType in kinds


def test_each_kind_travels() -> None:
    for sample in SAMPLES:
        arrived = carry(sample)
        assert arrived == sample
        assert type(arrived) is (bytes if type(sample) is bytearray else type(sample))

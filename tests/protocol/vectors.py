"""The vectors of `tests/vectors` as Python values. They are part of the protocol's specification."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iotio_protocol import v1, v2

FOLDER = Path(__file__).resolve().parent.parent / "vectors"


def load(name: str) -> Any:
    """One vector file."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def revive(value: Any) -> Any:
    """A value of a vector file as it was in Python: `$float` and `$b64` stand for what JSON cannot write."""
    if isinstance(value, dict):
        if set(value) == {"$float"}:
            return float(value["$float"])
        if set(value) == {"$b64"}:
            return base64.b64decode(value["$b64"])
        return {key: revive(item) for key, item in value.items()}
    if isinstance(value, list):
        return [revive(item) for item in value]
    return value


@dataclass(frozen=True)
class PacketVector:
    """One entry of v1_packets.json; `packet` is what the original wrote, `read_back` what it reads of it."""

    name: str
    event: str
    value: Any
    type_byte: int
    packet: bytes
    note: str
    read_back: Any


def v1_decode_cases() -> list[Any]:
    """The malformed and odd packets of v1_packets_decode.json, as parameters of a test."""
    cases = load("v1_packets_decode.json")["decode"]
    return [pytest.param(case, id=case["note"]) for case in cases]


def v1_packets() -> list[PacketVector]:
    """All entries of v1_packets.json."""
    return [_packet(number, entry) for number, entry in enumerate(load("v1_packets.json"))]


def _packet(number: int, entry: dict[str, Any]) -> PacketVector:
    event = entry["event"]
    if event is None:
        event = entry["event_repeat"]["unit"] * entry["event_repeat"]["count"]
    value = _value(entry["value_encoding"], entry["value"])
    note = entry.get("note", "")
    if "int keys" in note:
        value = {int(key): item for key, item in value.items()}  # the note says what JSON could not
    read_back = revive(entry["value"]) if entry["value_encoding"] == "json" else value
    if "decodes_to" in entry:
        read_back = revive(entry["decodes_to"]["value"])
    packet = _bytes(entry, event, value)
    return PacketVector(f"{number}-{entry['type']}", event, value, entry["type_byte"], packet, note, read_back)


def _value(encoding: str, value: Any) -> Any:
    if encoding == "base64":
        return base64.b64decode(value)
    if encoding == "repeat-utf8":
        return value["unit"] * value["count"]
    if encoding == "repeat-bytes":
        return value["unit"].encode() * value["count"]
    return revive(value)


def _bytes(entry: dict[str, Any], event: str, value: Any) -> bytes:
    """The packet; of a long one, which has its hash only, put together by hand and checked against that."""
    if "hex" in entry:
        return bytes.fromhex(entry["hex"])
    name = event.encode()
    body = value.encode() if isinstance(value, str) else value
    packet = (
        bytes([entry["type_byte"]]) + len(name).to_bytes(2, "big") + name + len(body).to_bytes(4, "big") + bytes(body)
    )
    assert hashlib.sha256(packet).hexdigest() == entry["sha256"]
    assert packet.hex().startswith(entry["head_hex"])
    assert packet.hex().endswith(entry["tail_hex"])
    return packet


def v2_fields(packet: v2.Decoded) -> dict[str, Any]:
    """A packet as the v2 vectors write it."""
    match packet:
        case v2.Packet():
            nothing: dict[str, Any] = {}
            return {
                "flags": [name for name, bit in V2_FLAGS.items() if packet.flags & bit],
                **({"call": packet.call} if packet.flags & (v2.CALL | v2.RESULT | v2.FAILURE) else nothing),
                **({"number": packet.number, "previous": packet.previous} if packet.flags & v2.DURABLE else nothing),
                **({"time": packet.time} if packet.flags & v2.TIME else nothing),
                "event": packet.event,
                "value": packet.value,
            }
        case v2.Greeting():
            return {"type": "WELCOME" if packet.welcome else "HELLO", "fields": packet.fields}
        case v2.Ack():
            return {"type": "ACK", "upto": packet.upto}
        case v2.Sleep():
            return {"type": "SLEEP", "seconds": packet.seconds}
        case v2.Goodbye():
            return {"type": "GOODBYE", "reason": packet.reason}
        case v2.Problem():
            return {"type": "PROBLEM", "error": packet.error, "info": packet.info}
        case v2.Ping() | v2.Pong():
            return {"type": type(packet).__name__.upper()}


V2_FLAGS = {name: getattr(v2, name) for name in ("CALL", "RESULT", "FAILURE", "DURABLE", "TIME")}
V2_TYPES: dict[str, int] = {kind.name: kind.value for kind in v1.DataType} | {
    name: getattr(v2, name)
    for name in ("FLOAT", "NULL", "HELLO", "WELCOME", "ACK", "SLEEP", "GOODBYE", "PROBLEM", "PING", "PONG")
}

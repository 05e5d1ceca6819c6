"""Records to store."""

from __future__ import annotations

from typing import Any

from iotio.core.storage.records import DeviceRecord, MessageRecord, TwinRecord, write_json


def device(name: str = "lamp", **values: Any) -> DeviceRecord:
    """A device record."""
    known: dict[str, Any] = {
        "type": "lamp",
        "data": write_json({"name": "Küche", "size": [1, 2.5, None]}),
        "rooms": ("kitchen", "all"),
        "presence": "online",
        "since": 1000.5,
        "last_seen": 1001.25,
        "wakes": None,
        "stream": "s1",
    }
    return DeviceRecord(name, **{**known, **values})


def message(number: int, name: str = "lamp", **values: Any) -> MessageRecord:
    """A message record."""
    known: dict[str, Any] = {"id": f"m{number}", "event": "set", "kind": 2, "value": b"\x00\xff", "created": 1002.0}
    return MessageRecord(name, number, **{**known, **values})


def twin(endpoint_id: str = "level", name: str = "lamp", **values: Any) -> TwinRecord:
    """A twin record."""
    known: dict[str, Any] = {
        "reported": write_json({"a": [1, 2.5, None, "U+0000: \0"]}),
        "reported_at": 1003.5,
        "desired": b"21.5",
        "desired_at": 1004.0,
        "desired_by": "api:anna",
        "version": 7,
        "status": "pending",
        "expires": 2000.5,
    }
    return TwinRecord(name, endpoint_id, **{**known, **values})

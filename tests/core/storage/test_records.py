"""The records agree with each other, with what a device holds, and with the tables."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from iotio.core.storage.records import DeviceRecord, DeviceState, MessageRecord
from iotio.store.tables import devices, messages
from tests.store.records import device, message


def test_every_field_is_a_column() -> None:
    assert [field.name for field in fields(DeviceRecord)] == [column.name for column in devices.c]
    assert [field.name for field in fields(MessageRecord)] == [column.name for column in messages.c]


def test_a_record_is_a_state_with_streams() -> None:
    record = device(counter=3, heard_stream="d1", heard=2, wakes=5.0)
    state = record.copy()
    assert type(state) is DeviceState
    assert DeviceRecord.of(state, "s1", 3, "d1", 2) == record
    assert all(getattr(state, field.name) == getattr(record, field.name) for field in fields(DeviceState))


def test_a_copy_stays_as_it_is() -> None:
    state = DeviceState("lamp", "lamp", b"null")
    copy = state.copy()
    state.presence, state.rooms = "online", ("kitchen",)
    assert copy == DeviceState("lamp", "lamp", b"null", (), "offline", 0.0, 0.0, None, returned=False, declaration=None)


def test_a_message_never_changes() -> None:
    with pytest.raises(FrozenInstanceError):
        message(1).number = 2  # type: ignore[misc]  # that is the point

"""What an emit tells its caller."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from iotio import DeviceType, EmitResult
from tests.support.memory import make_manager, v2_device
from tests.support.stores import TroubledStore


def test_nothing_is_false_and_anything_sent_is_true() -> None:
    assert not EmitResult()
    assert not EmitResult(0, ("a",), {"b": "backpressure"})
    assert EmitResult(1)


def test_fields() -> None:
    result = EmitResult(2, ("a",), {"b": "why"})
    assert (result.sent, result.offline, result.dropped) == (2, ("a",), {"b": "why"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.sent = 3  # type: ignore[misc]  # that is the point
    assert EmitResult().dropped is not EmitResult().dropped


async def test_a_durable_message_has_a_handle_for_each_device() -> None:
    store = TroubledStore()
    manager = make_manager(DeviceType("echo"), store=store)
    for name in ("a", "b"):
        v2_device(manager, name).drop()
    one = manager.emit("x", 1, "a", durable=True)
    assert one, "nothing is sent now, but it will be"
    assert (one.sent, one.delivery) == (0, one.deliveries["a"])
    store.answers.clear()
    both = manager.emit("y", 2, client_type="echo", durable=True)
    assert (sorted(both.deliveries), both.delivery) == (["a", "b"], None)
    written = asyncio.create_task(both.written())
    await asyncio.sleep(0)
    before = written.done()
    store.answers.set()
    assert (before, await written) == (False, True)
    manager.close(0)


async def test_what_is_not_durable_is_written_nowhere() -> None:
    manager = make_manager(DeviceType("echo"))
    v2_device(manager, "a")
    result = manager.emit("x", 1, "a")
    assert (result.deliveries, result.delivery) == ({}, None)
    assert await result.written() is True

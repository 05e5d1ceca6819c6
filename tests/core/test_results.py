"""What an emit tells its caller."""

from __future__ import annotations

import dataclasses

import pytest

from iotio import EmitResult


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

"""What a store has to be able to do; tests/store/test_contract.py asks the stores whether they do it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from iotio.core.storage.contract import (
    DropMessages,
    Heard,
    PutDevice,
    Snapshot,
    Store,
    StoreError,
    StoreLost,
    StoreUnavailable,
)
from tests.store.records import device


def test_every_error_of_a_store_is_a_store_error() -> None:
    for kind in (StoreLost, StoreUnavailable):
        assert issubclass(kind, StoreError)
    assert not issubclass(StoreLost, StoreUnavailable)


def test_a_store_has_five_methods() -> None:
    assert Store.__abstractmethods__ == {"open", "load", "commit", "replace", "close"}
    incomplete: Any = type("Incomplete", (Store,), {"open": lambda self: None})
    with pytest.raises(TypeError, match="abstract"):
        incomplete()


def test_changes_are_values() -> None:
    assert Heard("d", "s", 1) == Heard("d", "s", 1) != Heard("d", "s", 2)
    assert PutDevice(device()) == PutDevice(device())
    assert Snapshot() == Snapshot((), ())
    change = DropMessages("d", (1, 2))
    with pytest.raises(FrozenInstanceError):
        change.numbers = ()  # type: ignore[misc]  # that is the point

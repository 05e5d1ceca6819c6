"""`iotio.types`: type names of the original."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from iotio.compat.types import event_pair, sendable
else:
    from iotio.types import event_pair, sendable


def test_sendable_names_what_v1_carries() -> None:
    names = {getattr(part, "__origin__", part) for part in get_args(sendable)}
    assert names == {bytes, bytearray, bool, int, str, list, dict}


def test_event_pair_is_two_things() -> None:
    assert {len(get_args(part)) for part in get_args(event_pair)} == {2}

"""What was merged comes to the same as what was said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio.core.storage.batch import Batch, Entry, is_kept
from iotio.core.storage.contract import (
    Change,
    DropDevice,
    DropMessages,
    DropTwins,
    Heard,
    PutDevice,
    PutMessage,
    PutTwin,
    Run,
    Snapshot,
)
from iotio.core.storage.records import DeviceRecord, MessageRecord, TwinRecord
from iotio.store import MemoryStore
from tests.store.records import device, message, twin


def batch_of(*entries: Sequence[Change]) -> Batch:
    batch = Batch()
    for changes in entries:
        if is_kept(changes):
            for change in changes:
                batch.add_kept(change)
        else:
            batch.add_entry(Entry(tuple(changes), 0.0))
    return batch


def changes_of(batch: Batch) -> list[Change]:
    return [change for slot in batch.slots() for change in slot.changes()]


def test_what_is_kept() -> None:
    assert is_kept([PutDevice(device()), DropDevice("a"), Heard("a", "s", 1), DropMessages("a", (1,))])
    assert is_kept([DropTwins("a", ())])
    assert not is_kept([PutMessage(message(1))])
    assert not is_kept([PutTwin(twin())])
    assert not is_kept([PutDevice(device()), Run(print)])


def test_the_last_record_wins_and_stands_where_the_first_one_stood() -> None:
    batch = batch_of([PutDevice(device())], [PutMessage(message(1))], [PutDevice(device(counter=1))])
    assert changes_of(batch) == [PutDevice(device(counter=1)), PutMessage(message(1))]


def ask(device_id: str, endpoint_ids: Iterable[str]) -> list[TwinRecord]:
    return [twin(name, device_id, version=99) for name in endpoint_ids]


def test_marked_twins_are_asked_for_once() -> None:
    batch = batch_of([PutMessage(message(1))])
    batch.mark_twins("lamp", ["b"], ask)
    batch.mark_twins("other", ["b"], ask)
    batch.mark_twins("lamp", ["a", "b"], ask)
    assert [change for change in changes_of(batch) if isinstance(change, PutTwin)] == [
        PutTwin(twin("b", "other", version=99)),
        PutTwin(twin("a", version=99)),
        PutTwin(twin("b", version=99)),
    ]


def test_twins_that_are_marked_later_are_written_later() -> None:
    batch = Batch()
    batch.mark_twins("lamp", ["a"], ask)
    batch.add_entry(Entry((PutTwin(twin("a")),), 0.0))
    batch.mark_twins("lamp", ["b"], ask)
    for kept in (("a", "x"), ("a", "b")):
        batch.add_kept(DropTwins("lamp", kept))
    batch.mark_twins("lamp", ["c"], ask)
    assert changes_of(batch) == [
        PutTwin(twin("a")),
        DropTwins("lamp", ("a", "b")),
        *(PutTwin(twin(name, version=99)) for name in "abc"),
    ]
    batch.add_kept(DropDevice("lamp"))
    assert changes_of(batch) == [PutTwin(twin("a")), DropDevice("lamp")]


def test_a_device_that_comes_again_and_again_takes_one_place() -> None:
    batch = Batch()
    for number in range(1000):
        batch.add_kept(DropTwins("lamp", (str(number),)))
        batch.mark_twins("lamp", ["a"], ask)
    assert changes_of(batch) == [DropTwins("lamp", ("999",)), PutTwin(twin("a", version=99))]


def test_messages_are_dropped_after_they_are_put() -> None:
    batch = batch_of([DropMessages("lamp", (3, 1))], [PutMessage(message(2))], [DropMessages("lamp", (2,))])
    assert changes_of(batch) == [PutMessage(message(2)), DropMessages("lamp", (1, 2, 3))]


def test_a_forgotten_device_takes_with_it_what_was_kept_of_it() -> None:
    batch = batch_of(
        *([PutDevice(device())], [Heard("lamp", "s", 1)], [DropMessages("lamp", (1,))], [DropDevice("lamp")]) * 50,
        [PutDevice(device(stream="s2"))],
        [PutMessage(message(1))],
    )
    assert changes_of(batch) == [DropDevice("lamp"), PutDevice(device(stream="s2")), PutMessage(message(1))]


@pytest.mark.parametrize("change", [PutDevice(device()), Heard("lamp", "d1", 1), DropDevice("lamp")])
def test_nothing_is_merged_across_an_entry_about_the_same_device(change: Change) -> None:
    batch = batch_of([PutDevice(device())], [change, Run(print)], [PutDevice(device(counter=5))])
    assert changes_of(batch)[-1] == PutDevice(device(counter=5))


def test_what_was_heard_of_a_stream_that_is_over_is_no_more() -> None:
    new = device(heard_stream="d2", heard=1)
    assert changes_of(batch_of([Heard("lamp", "d1", 9)], [PutDevice(new)])) == [PutDevice(new)]
    same = device(heard_stream="d1", heard=1)
    assert len(changes_of(batch_of([Heard("lamp", "d1", 9)], [PutDevice(same)]))) == 2


class Owner:
    """Has devices and messages in memory, as the manager does, and says what changes."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._streams = 0
        self.devices: dict[str, DeviceRecord] = {}
        self.messages: dict[tuple[str, int], MessageRecord] = {}

    def step(self) -> list[Change]:
        """A few changes at a time."""
        changes: list[Change] = []
        for _ in range(self._random.choice([1, 1, 1, 2, 3])):
            changes += self._change(self._random.choice("abc"))
        return changes

    def _change(self, name: str) -> list[Change]:
        known = self.devices.get(name)
        if known is None:
            self._streams += 1
            known = self.devices[name] = device(name, stream=f"s{self._streams}")
            return [PutDevice(known)]
        what = self._random.choice(["put", "put", "message", "message", "drop", "drop", "heard", "restart", "forget"])
        if what == "put":
            known = self.devices[name] = replace(known, last_seen=self._random.random())
            return [PutDevice(known)]
        if what == "message":
            known = self.devices[name] = replace(known, counter=known.counter + 1)
            sent = self.messages[name, known.counter] = message(known.counter, name)
            return [PutMessage(sent)]
        if what == "drop":
            numbers = [number for owner, number in self.messages if owner == name and self._random.random() < 0.5]
            for number in numbers:
                del self.messages[name, number]
            return [DropMessages(name, tuple(numbers))]
        if what == "heard":
            stream = known.heard_stream or "d0"
            known = self.devices[name] = replace(known, heard_stream=stream, heard=known.heard + 1)
            return [Heard(name, stream, known.heard)]
        if what == "restart":
            self._streams += 1
            known = self.devices[name] = replace(known, heard_stream=f"d{self._streams}", heard=1)
            return [Heard(name, f"d{self._streams}", 1)]
        del self.devices[name]
        self.messages = {key: one for key, one in self.messages.items() if key[0] != name}
        return [DropDevice(name)]

    def snapshot(self) -> Snapshot:
        """What the store should hold in the end."""
        return Snapshot(tuple(self.devices.values()), tuple(self.messages.values()))


def in_order(snapshot: Snapshot) -> tuple[list[DeviceRecord], list[MessageRecord]]:
    devices = sorted(snapshot.devices, key=lambda one: one.id)
    return devices, sorted(snapshot.messages, key=lambda one: (one.device_id, one.number))


@given(st.integers(0, 2**32), st.lists(st.integers(1, 30), max_size=5), st.booleans())
def test_the_store_holds_in_the_end_what_the_memory_holds(seed: int, batches: list[int], twice: bool) -> None:
    owner, store = Owner(seed), MemoryStore()
    for steps in batches:
        changes = changes_of(batch_of(*(owner.step() for _ in range(steps))))
        for _ in range(1 + twice):  # a commit that is said to have failed and has not
            store.commit(changes)
        assert in_order(store.load()) == in_order(owner.snapshot())


def test_the_record_of_a_marked_device_is_made_when_it_is_written() -> None:
    now = {"lamp": device(counter=1)}
    batch = Batch()
    batch.mark("lamp", now.get)
    batch.add_entry(Entry((PutMessage(message(2)),), 0.0))
    batch.mark("gone", now.get)
    now["lamp"] = device(counter=2)
    assert changes_of(batch) == [PutDevice(now["lamp"]), PutMessage(message(2))]
    batch.add_kept(PutDevice(device(counter=3)))
    assert changes_of(batch)[0] == PutDevice(device(counter=3))
    batch.mark("lamp", now.get)
    assert changes_of(batch)[0] == PutDevice(now["lamp"])


def test_a_record_that_is_made_when_it_is_written_is_newer_than_what_was_heard() -> None:
    new = device(heard_stream="d2", heard=0)
    batch = batch_of([Heard("lamp", "d1", 9)])
    batch.mark("lamp", lambda _: new)
    assert changes_of(batch) == [PutDevice(new)]
    batch = batch_of([Heard("lamp", "d2", 9)])
    batch.mark("lamp", lambda _: new)
    assert changes_of(batch) == [PutDevice(new), Heard("lamp", "d2", 9)]

"""The store in memory: what only it does. What all stores do is in test_contract.py."""

from __future__ import annotations

from iotio.core.storage.contract import DropDevice, DropMessages, Heard, PutDevice, PutMessage, Run, Snapshot
from iotio.store import MemoryStore
from tests.store.records import device, message


def test_it_holds_what_it_held_when_it_is_opened_again() -> None:
    store = MemoryStore()
    store.open()
    store.commit([PutDevice(device()), PutMessage(message(1))])
    store.close()
    store.open()
    assert store.load() == Snapshot((device(counter=1),), (message(1),))


def test_a_program_writes_with_nothing_in_its_hand() -> None:
    given: list[object] = []
    store = MemoryStore()
    store.commit([Run(given.append), PutDevice(device())])
    assert given == [None]


def test_records_are_put_and_dropped() -> None:
    store = MemoryStore()
    store.commit([PutDevice(device(counter=5, heard_stream="d1", heard=3)), PutMessage(message(7))])
    store.commit([PutDevice(device()), Heard("lamp", "d1", 2), Heard("nosuch", "d1", 2)])
    assert store.load().devices == (device(counter=7, heard_stream="d1", heard=3),)
    store.commit([PutMessage(message(8)), DropMessages("lamp", (7,)), DropMessages("nosuch", (1,))])
    assert [one.number for one in store.load().messages] == [8]
    store.replace(Snapshot((device("other"),), (message(2, "other"),)))
    assert store.load() == Snapshot((device("other"),), (message(2, "other"),))
    store.commit([DropDevice("other")])
    assert store.load() == Snapshot()

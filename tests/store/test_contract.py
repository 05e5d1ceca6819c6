"""What every store does: see `iotio.core.storage.contract`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    Store,
)
from iotio.core.storage.records import TwinRecord, write_json
from iotio.store import MemoryStore, open_store
from tests.support.postgres import PostgresServer

from .records import device, message, twin

Reopen = Callable[[], Store]


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.load() == Snapshot()


def test_all_fields_come_back_after_it_was_closed(reopen: Reopen) -> None:
    lamp = device(counter=9, heard_stream="d1", heard=2**40)
    plain = device("plain", data=b"null", rooms=(), presence="", declaration=write_json([{"id": "k\u00fcche \0"}]))
    full = message(9, value=b"", expires=2000.0, coalesce="level", event="")
    reopen().commit([PutDevice(lamp), PutDevice(plain), PutMessage(full), PutMessage(message(3))])
    found = reopen().load()

    assert {one.id: one for one in found.devices} == {"lamp": lamp, "plain": plain}
    assert found.messages == (message(3), full), "in the order of their numbers"


def test_twins_come_back_after_it_was_closed(reopen: Reopen) -> None:
    plain = TwinRecord("lamp", "on")
    reopen().commit([PutTwin(twin()), PutTwin(plain), PutTwin(twin(name="other", reason="too hot"))])
    reopen().commit([PutTwin(twin(version=8))])
    found = {(one.device_id, one.endpoint_id): one for one in reopen().load().twins}
    assert found == {
        ("lamp", "level"): twin(version=8),
        ("lamp", "on"): plain,
        ("other", "level"): twin(name="other", reason="too hot"),
    }


def test_dropping_twins(store: Store) -> None:
    store.commit([PutTwin(twin(name)) for name in ("a", "b", "c")] + [PutTwin(twin("a", "other"))])
    store.commit([DropTwins("lamp", ("b", "nix")), DropTwins("nobody", ())])
    assert sorted((one.device_id, one.endpoint_id) for one in store.load().twins) == [("lamp", "b"), ("other", "a")]
    store.commit([DropTwins("lamp", ()), PutTwin(twin("d"))])
    assert sorted((one.device_id, one.endpoint_id) for one in store.load().twins) == [("lamp", "d"), ("other", "a")]


def test_a_device_takes_its_twins_with_it(store: Store) -> None:
    store.commit([PutDevice(device()), PutTwin(twin()), PutTwin(twin(name="other")), DropDevice("lamp")])
    assert store.load() == Snapshot(twins=(twin(name="other"),))


def test_twins_are_replaced_and_set_aside(store: Store) -> None:
    store.commit([PutTwin(twin("a"))])
    store.replace(Snapshot(twins=(twin("b"), twin("c"))))
    assert sorted(one.endpoint_id for one in store.load().twins) == ["b", "c"]
    store.set_aside([(twin("b"), "why")])
    assert store.load().twins == (twin("c"),)


@pytest.mark.parametrize("data", [None, False, 0, "", "text", [], {"a": {"b": [None, 1.5, "é\u2028"]}}])
def test_data_is_what_json_carries(store: Store, data: Any) -> None:
    written = write_json(data)
    store.commit([PutDevice(device(data=written))])
    assert store.load().devices == (device(data=written),)


def test_opening_and_closing_twice_is_harmless(store: Store) -> None:
    store.open()
    store.commit([PutDevice(device())])
    store.close()
    store.close()
    store.open()
    assert store.load().devices == (device(),)


def test_a_message_raises_the_counter(store: Store) -> None:
    store.commit([PutDevice(device(counter=3)), PutMessage(message(7)), PutMessage(message(5))])
    assert store.load().devices[0].counter == 7


def test_a_message_of_an_unknown_device_is_kept(store: Store) -> None:
    store.commit([PutMessage(message(7))])
    assert store.load() == Snapshot((), (message(7),))


def test_counts_never_go_down_in_a_stream(store: Store) -> None:
    store.commit([PutDevice(device(counter=7, heard_stream="d1", heard=5))])
    store.commit([PutDevice(device(counter=6, heard_stream="d1", heard=4, presence="away"))])
    assert store.load().devices == (device(counter=7, heard_stream="d1", heard=5, presence="away"),)
    store.commit([PutDevice(device(stream="s2", counter=1, heard_stream="d2", heard=1))])
    assert store.load().devices == (device(stream="s2", counter=1, heard_stream="d2", heard=1),)


def test_heard_is_not_forgotten_by_a_record_without_it(store: Store) -> None:
    store.commit([PutDevice(device()), Heard("lamp", "d1", 5), PutDevice(device(presence="away"))])
    assert store.load().devices == (device(presence="away", heard_stream="d1", heard=5),)


def test_heard(store: Store) -> None:
    store.commit([Heard("nobody", "d1", 1), PutDevice(device()), Heard("lamp", "d1", 5), Heard("lamp", "d1", 4)])
    assert store.load().devices == (device(heard_stream="d1", heard=5),)
    store.commit([Heard("lamp", "d2", 1)])
    assert store.load().devices == (device(heard_stream="d2", heard=1),)


def test_dropping_messages(store: Store) -> None:
    store.commit([PutMessage(message(number)) for number in range(5)] + [PutMessage(message(1, "other"))])
    store.commit([DropMessages("lamp", (0, 1, 3, 99)), DropMessages("nobody", (1,)), DropMessages("lamp", ())])
    assert [one.number for one in store.load().messages if one.device_id == "lamp"] == [2, 4]
    assert len(store.load().messages) == 3


def test_dropping_a_device(store: Store) -> None:
    store.commit([PutDevice(device(counter=9)), PutDevice(device("other")), PutMessage(message(1))])
    store.commit([DropDevice("lamp"), DropDevice("nobody")])
    assert store.load() == Snapshot((device("other"),), ())
    store.commit([PutDevice(device())])
    assert store.load().devices[-1].counter == 0, "it begins anew"


def test_changes_are_made_in_their_order(store: Store) -> None:
    store.commit([PutMessage(message(1)), DropMessages("lamp", (1,)), PutMessage(message(2)), DropDevice("lamp")])
    assert store.load() == Snapshot()
    store.commit([DropDevice("lamp"), PutDevice(device()), PutMessage(message(3))])
    assert store.load() == Snapshot((device(counter=3),), (message(3),))


def test_all_or_nothing(store: Store) -> None:
    store.commit([PutMessage(message(1))])

    def fail(_: object) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        store.commit([PutDevice(device()), DropMessages("lamp", (1,)), Run(fail), PutMessage(message(2))])
    assert store.load() == Snapshot((), (message(1),))
    store.commit([PutMessage(message(3))])
    assert len(store.load().messages) == 2


def test_replace(store: Store) -> None:
    store.commit([PutDevice(device("old", counter=9)), PutMessage(message(9, "old")), PutMessage(message(1))])
    snapshot = Snapshot((device(counter=7),), (message(5), message(6)))
    store.replace(snapshot)
    assert store.load() == snapshot
    store.replace(Snapshot())
    assert store.load() == Snapshot()


_NAMES = st.sampled_from(["a", "b"])
_NUMBERS = st.integers(1, 4)
_STREAMS = st.sampled_from(["s1", "s2"])
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        lambda name, stream, counter, heard_stream, heard: PutDevice(
            device(name, stream=stream, counter=counter, heard_stream=heard_stream, heard=heard if heard_stream else 0)
        ),
        _NAMES,
        _STREAMS,
        _NUMBERS,
        st.none() | _STREAMS,
        _NUMBERS,
    ),
    st.builds(DropDevice, _NAMES),
    st.builds(
        lambda name, number, value: PutMessage(message(number, name, value=value)), _NAMES, _NUMBERS, st.binary()
    ),
    st.builds(DropMessages, _NAMES, st.lists(_NUMBERS, max_size=3).map(tuple)),
    st.builds(Heard, _NAMES, _STREAMS, _NUMBERS),
    st.builds(lambda name, one, version: PutTwin(twin(one, name, version=version)), _NAMES, _NAMES, _NUMBERS),
    st.builds(DropTwins, _NAMES, st.lists(_NAMES, max_size=2).map(tuple)),
)


def test_all_stores_come_to_the_same(tmp_path: Path, postgres: PostgresServer) -> None:
    urls = [f"sqlite:///{tmp_path / 'iotio.db'}", postgres.url(postgres.new_database())]

    @settings(max_examples=30)
    @given(st.lists(st.lists(CHANGES, max_size=8), max_size=4))
    def check(commits: list[list[Change]]) -> None:
        memory = MemoryStore()
        for store in stores:
            store.replace(Snapshot())
        for changes in commits:
            for store in (memory, *stores):
                store.commit(changes)
        for store in stores:
            assert _sorted(store.load()) == _sorted(memory.load())

    with ExitStack() as stack:
        stores = [stack.enter_context(closing(open_store(url))) for url in urls]
        check()


@pytest.mark.parametrize("odd", ["\0", "a\0b", "\x01\u2028", "ü\U0001f4a1", "\x7f%s?:x", ""])
def test_any_text_comes_back(reopen: Reopen, odd: str) -> None:
    """U+0000 as well, which PostgreSQL does not take as text; a value is bytes."""
    lamp = device(
        odd, type=odd, data=write_json({odd: odd}), rooms=(odd,), presence=odd, stream=odd, heard_stream=odd, heard=3
    )
    plain = message(2, odd, id=odd, event=odd, value=odd.encode(), coalesce=odd)
    store = reopen()
    store.commit([PutDevice(lamp), PutMessage(plain), PutMessage(message(3, odd)), PutDevice(device("other"))])
    store.commit([Heard(odd, odd, 9), DropMessages(odd, (3,))])
    store = reopen()
    assert {one.id: one for one in store.load().devices}[odd] == replace(lamp, counter=3, heard=9)
    assert store.load().messages == (plain,)
    store.commit([DropDevice(odd)])
    assert store.load() == Snapshot((device("other"),))


def _sorted(snapshot: Snapshot) -> Snapshot:
    return replace(
        snapshot,
        devices=tuple(sorted(snapshot.devices, key=lambda one: one.id)),
        messages=tuple(sorted(snapshot.messages, key=lambda one: (one.device_id, one.number))),
        twins=tuple(sorted(snapshot.twins, key=lambda one: (one.device_id, one.endpoint_id))),
    )

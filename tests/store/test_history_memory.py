"""The history in memory: what only it does. What all stores do is in tests/history/test_tables.py."""

from __future__ import annotations

from iotio.history.statistics import statistics_of
from iotio.history.tables import Chunk
from iotio.store import MemoryStore


def test_it_is_handed_on_with_the_store() -> None:
    store = MemoryStore()
    tables = store.history().writing(None)
    tables.put_chunks([Chunk(1, 0, 1, 5, statistics_of([1.0]), b"body")])
    store.close()
    store.open()
    with store.history().reading(1) as found:
        assert found.first_chunk(1) == 0

"""A recorder whose store writer is the test: it decides when something is written, and what the time is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import Any

from iotio.core.readings import Series
from iotio.core.storage.contract import Store
from iotio.endpoints import BooleanEndpoint, EnumEndpoint, FloatEndpoint, IntegerEndpoint, StringEndpoint
from iotio.history.query import Question, answer
from iotio.history.recorder import Recorder
from iotio.history.settings import History
from iotio.history.tables import HistoryTables
from iotio.store import MemoryStore

START = 1_767_225_600_000  # the first of January 2026, in ms

NUMBER: Any = IntegerEndpoint("level", "Level")
DOOR: Any = BooleanEndpoint("door", "Door")
MODE: Any = EnumEndpoint("mode", "Mode", None, {"off": 0, "eco": "eco"})
TEXT: Any = StringEndpoint("text", "Text")


def meter(name: str, unit: str | None = None) -> Any:
    """A number with a unit."""
    return FloatEndpoint(name, name, unit=unit)


METER: Any = FloatEndpoint("energy", "Energy", unit="kWh", total=True)


class Rig:
    """A recorder, its store, and the time."""

    def __init__(self, store: Store | None = None, settings: History | None = None) -> None:
        self.store = store or MemoryStore()
        self.settings = settings or History()
        self.clock = 1000.0
        self.wall = START / 1000
        self.restart()

    def restart(self) -> None:
        """Begin anew with what is stored, as after a kill."""
        self.recorder = Recorder(self.store.history(), self.settings, clock=lambda: self.clock, wall=lambda: self.wall)

    def record(self, endpoint: Any, readings: Iterable[tuple[int, Any]], device: str = "kitchen") -> None:
        """Record readings; their times count from START."""
        self.recorder.record(device, endpoint, [(START + moment, value) for moment, value in readings])

    def write(self) -> None:
        """Do what the store writer does once."""
        self.store.commit(self.recorder.changes())
        self.recorder.settled(None)

    def second(self) -> None:
        """Let a second pass."""
        self.clock += 1
        self.wall += 1
        self.write()

    def seal(self) -> None:
        """Let a round of all series pass, a quarter of an hour later."""
        self.wall += 1000
        for _ in range(122):
            self.second()

    def ask(self, endpoint: Any, start: int, stop: int, device: str = "kitchen", **more: Any) -> Series:
        """Ask; times count from START."""
        more.setdefault("zone", UTC)
        return answer(self.recorder, Question(device, endpoint.id, START + start, START + stop, **more))

    def tables(self) -> HistoryTables:
        """What is stored."""
        with self.store.history().reading(5) as tables:
            assert isinstance(tables, HistoryTables)
            return tables

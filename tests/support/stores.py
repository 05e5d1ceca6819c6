"""Stores that do not do what they should."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from iotio.core.storage.contract import Change
from iotio.store import MemoryStore

__all__ = ["TroubledStore"]


class TroubledStore(MemoryStore):
    """Hangs while `answers` is not set, and raises `problem` if there is one.

    Attributes:
        asked: one more for each call of `commit`.
        commits: what was committed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.problem: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Semaphore(0)
        self.commits: list[list[Change]] = []

    def commit(self, changes: Sequence[Change]) -> None:
        self.asked.release()
        self.answers.wait(20)
        if self.problem is not None:
            raise self.problem
        super().commit(changes)
        self.commits.append(list(changes))

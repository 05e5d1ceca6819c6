"""A few threads in which queries run: no loop waits for a disk, and a page of charts does not read fifty times."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from iotio.core.primitives import Signal, allocate_lock, start_thread
from iotio.core.storage.contract import StoreError

__all__ = ["MAX_QUERIES", "Job", "QueryPool"]

Result = TypeVar("Result")

THREADS = 4
MAX_QUERIES = 1000  # that wait


class Job(Generic[Result]):
    """A query that runs, or waits.

    Attributes:
        done: set when it has ended.
    """

    def __init__(self, function: Callable[[], Result]) -> None:
        self.done = Signal()
        self._function = function
        self._result: Result
        self._error: BaseException | None = None

    def run(self) -> None:
        """Run the query."""
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        self.done.set()

    def result(self) -> Result:
        """Return what the query has returned, or raise what it has raised."""
        if self._error is not None:
            raise self._error
        return self._result


class QueryPool:
    """Runs queries in at most four threads, which are there only while there is something to run."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._waiting: deque[Job[object]] = deque()
        self._threads = 0

    def submit(self, function: Callable[[], Result]) -> Job[Result]:
        """Run a query soon. Never blocks.

        Raises:
            StoreError: too many wait already.
        """
        job = Job(function)
        with self._lock:
            if len(self._waiting) >= MAX_QUERIES:
                raise StoreError(f"{MAX_QUERIES} queries of the history wait already: ask less often, or for less time")
            self._waiting.append(job)  # type: ignore[arg-type]  # nobody here looks at the result
            starts = self._threads < THREADS
            self._threads += starts
        if starts:
            start_thread(self._work)
        return job

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                job = self._waiting.popleft()
            job.run()

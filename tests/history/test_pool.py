"""Queries run in a few threads, and do not wait without end."""

from __future__ import annotations

import threading

import pytest

from iotio.core.primitives import wait
from iotio.core.storage.contract import StoreError
from iotio.history.pool import MAX_QUERIES, THREADS, QueryPool


def test_a_query_returns_or_raises() -> None:
    pool = QueryPool()
    jobs = [pool.submit(lambda: 5), pool.submit(lambda: int("x"))]
    assert all(wait(job.done, 10) for job in jobs)
    assert jobs[0].result() == 5
    with pytest.raises(ValueError, match="invalid literal"):
        jobs[1].result()


def test_no_more_than_four_run_and_a_thousand_wait() -> None:
    pool = QueryPool()
    free = threading.Event()
    begun = threading.Semaphore(0)

    def query() -> None:
        begun.release()
        free.wait(30)

    running = [pool.submit(query) for _ in range(THREADS)]
    for _ in running:
        assert begun.acquire(timeout=10)
    waiting = [pool.submit(query) for _ in range(MAX_QUERIES)]
    with pytest.raises(StoreError, match="1000 queries of the history wait already: ask less often"):
        pool.submit(query)
    assert not begun.acquire(blocking=False)
    free.set()
    assert all(wait(job.done, 30) for job in (*running, *waiting))

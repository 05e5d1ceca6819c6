"""Threads for `def` handlers: order, fairness and limits."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from iotio.hosts.native.workers import Job, Workers

WAIT = 5.0  # seconds


class Pool:
    """Workers whose jobs report their end as connections do."""

    def __init__(self, most: int = 8, slow: float = 0.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.workers = Workers(self.loop, most=most, slow=slow, clock=time.monotonic)
        self.running: dict[str, int] = {}
        self.clashes: list[str] = []
        self.threads: set[int] = set()
        self._left = 0
        self._idle = asyncio.Event()

    def submit(self, owner: str, work: Callable[[], object]) -> None:
        self._left += 1
        self._idle.clear()

        def run() -> None:
            self.threads.add(threading.get_ident())
            self.running[owner] = self.running.get(owner, 0) + 1
            if self.running[owner] > 1:
                self.clashes.append(owner)
            work()
            self.running[owner] -= 1
            self.loop.call_soon_threadsafe(self._ended, owner)

        self.workers.submit(Job(owner, run, lambda: f"job of {owner}"))

    def _ended(self, owner: str) -> None:
        self.workers.done(owner)
        self._left -= 1
        if not self._left:
            self._idle.set()

    async def wait(self) -> None:
        async with asyncio.timeout(WAIT):
            await self._idle.wait()


@pytest.fixture
def pools() -> Iterator[list[Pool]]:
    made: list[Pool] = []
    yield made
    for pool in made:
        pool.workers.close()


async def test_quick_jobs_share_one_thread_that_is_not_the_loops(pools: list[Pool]) -> None:
    pools.append(pool := Pool())
    seen: list[tuple[str, int]] = []
    for number in range(100):
        for owner in "abc":
            pool.submit(owner, lambda owner=owner, number=number: seen.append((owner, number)))  # type: ignore[misc]
    await pool.wait()
    for owner in "abc":
        assert [number for one, number in seen if one == owner] == list(range(100))
    assert len(pool.threads) == 1
    assert threading.get_ident() not in pool.threads


async def test_what_one_turn_brings_wakes_the_worker_once(pools: list[Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    pools.append(pool := Pool())
    pool.submit("a", lambda: None)
    await pool.wait()
    worker = pool.workers._workers[0]
    batches: list[int] = []
    put = worker.put

    def count(jobs: list[Job]) -> None:
        batches.append(len(jobs))
        put(jobs)

    monkeypatch.setattr(worker, "put", count)
    for owner in "abcdefgh":
        pool.submit(owner, lambda: None)
    await pool.wait()
    assert batches == [8]


async def test_a_slow_job_does_not_hold_up_others(pools: list[Pool]) -> None:
    pools.append(pool := Pool())
    began = time.monotonic()
    times: dict[str, float] = {}
    pool.submit("slow", lambda: time.sleep(2))
    for owner in ("a", "b", "c"):
        pool.submit(owner, lambda owner=owner: times.update({owner: time.monotonic() - began}))  # type: ignore[misc]
    await asyncio.sleep(0.3)  # the others come while it runs, too
    later = time.monotonic()
    pool.submit("late", lambda: times.update(late=time.monotonic() - later))
    await pool.wait()
    assert max(times.values()) < 1.0, times  # far below the slow job, on a busy machine too


async def test_many_slow_jobs_in_one_turn_spread_quickly(pools: list[Pool]) -> None:
    pools.append(pool := Pool(most=32))
    began = time.monotonic()
    starts: list[float] = []

    def work() -> None:
        starts.append(time.monotonic() - began)
        time.sleep(2)

    for number in range(16):
        pool.submit(f"slow {number}", work)
    await pool.wait()
    assert max(starts) < 1.5, sorted(starts)


async def test_order_holds_when_jobs_move(pools: list[Pool]) -> None:
    """Owners are slow in turn, so that the jobs of the others move while new ones come."""
    pools.append(pool := Pool(most=4))
    seen: dict[str, list[int]] = {}

    def work(owner: str, number: int) -> None:
        seen.setdefault(owner, []).append(number)
        time.sleep(0.05 if number % 10 == ord(owner) % 10 else 0.001)

    owners = "abcdefgh"
    for number in range(30):
        for owner in owners:
            pool.submit(owner, lambda owner=owner, number=number: work(owner, number))  # type: ignore[misc]
        await asyncio.sleep(0.007)
    await pool.wait()
    assert pool.clashes == []
    assert seen == {owner: list(range(30)) for owner in owners}


async def test_no_more_threads_than_allowed(pools: list[Pool]) -> None:
    pools.append(pool := Pool(most=3))
    for number in range(12):
        pool.submit(f"owner {number}", lambda: time.sleep(0.06))
    await pool.wait()
    assert len(pool.threads) == 3


async def test_a_slow_handler_is_named_once(pools: list[Pool], caplog: pytest.LogCaptureFixture) -> None:
    pools.append(pool := Pool(slow=0.1))
    with caplog.at_level(logging.WARNING, "iotio.hosts"):
        pool.submit("slow", lambda: time.sleep(0.4))
        pool.submit("quick", lambda: None)
        await pool.wait()
    (record,) = caplog.records
    assert record.getMessage().startswith("job of slow has been running for ")


async def test_forgotten_owners_get_another_thread(pools: list[Pool]) -> None:
    pools.append(pool := Pool())
    stuck = threading.Event()
    ended = asyncio.Event()

    def wait() -> None:
        stuck.wait(WAIT)

    def tell() -> None:
        pool.loop.call_soon_threadsafe(ended.set)

    pool.workers.submit(Job("one", wait, lambda: "stuck"))
    await asyncio.sleep(0.05)
    behind = [Job("one", tell, lambda: "behind it") for _ in range(2)]
    pool.workers.submit(behind[0])
    await asyncio.sleep(0)
    pool.workers.submit(behind[1])
    assert pool.workers.forget("one") == behind
    assert pool.workers.forget("one") == []
    pool.workers.submit(Job("one", tell, lambda: "next"))
    async with asyncio.timeout(WAIT):
        await ended.wait()
    stuck.set()


async def test_close_ends_the_threads_after_their_work() -> None:
    pool = Pool()
    seen: list[int] = []
    pool.submit("a", lambda: time.sleep(0.05))
    for number in range(3):
        pool.submit("a", lambda number=number: seen.append(number))  # type: ignore[misc]
    await asyncio.sleep(0)
    threads = [worker.thread for worker in pool.workers._workers]
    pool.workers.close()
    for thread in threads:
        await asyncio.to_thread(thread.join, WAIT)
        assert not thread.is_alive()
    assert seen == [0, 1, 2]

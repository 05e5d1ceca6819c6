"""Run `def` handlers in threads.

A device's jobs run one after the other: while it has any, they all go to one worker. The loop hands over whatever
one turn brought in one piece. One worker is enough while handlers are quick, and fastest; when a job holds a worker
up, the jobs of other devices behind it move to another one.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable

from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import get_logger

from ...core.primitives import allocate_lock

__all__ = ["Job", "Workers"]

logger = get_logger("iotio.hosts")

_PATIENCE = 0.02  # seconds that a job may hold up jobs of other devices before they move
_CHECK_INTERVAL = 0.02  # seconds between looks at it


class Job:
    """Describe something to run on a worker.

    Args:
        owner: jobs of one owner run in order, one at a time.
        run: the work; must not raise.
        label: returns what the job is doing, for the log.
        began: returns when the present part of the job began, where a job has several.
    """

    __slots__ = ("began", "label", "owner", "run")

    def __init__(
        self,
        owner: Hashable,
        run: Callable[[], None],
        label: Callable[[], str],
        began: Callable[[], float] | None = None,
    ) -> None:
        self.owner = owner
        self.run = run
        self.label = label
        self.began = began


class _Worker:
    """Run jobs in one thread, from a queue that is shared with the loop under `lock`."""

    def __init__(self, number: int, clock: Callable[[], float]) -> None:
        self.lock = threading.Lock()
        self.wake = threading.Semaphore(0)
        self.queue: deque[Job] = deque()
        self.current: Job | None = None
        self.since = 0.0
        self.warned = 0.0  # start time of the job that was last reported as slow
        self.idle = True
        self.closing = False
        self._clock = clock
        self.thread = threading.Thread(target=self._run, name=f"iotio-worker-{number}", daemon=True)
        self.thread.start()

    def put(self, jobs: list[Job]) -> None:
        with self.lock:
            self.queue.extend(jobs)
            wake, self.idle = self.idle, False
        if wake:
            self.wake.release()

    def take_back(self, owner: Hashable) -> list[Job]:
        with self.lock:
            taken = [job for job in self.queue if job.owner == owner]
            if taken:
                self.queue = deque(job for job in self.queue if job.owner != owner)
        return taken

    def _run(self) -> None:
        while True:
            with self.lock:
                if self.queue:
                    job = self.current = self.queue.popleft()
                    self.since = self._clock()
                else:
                    self.current = None
                    self.idle = True
                    if self.closing:
                        return
                    job = None
            if job is None:
                self.wake.acquire()
                continue
            job.run()

    def close(self) -> None:
        with self.lock:
            self.closing = True
        self.wake.release()


class Workers:
    """Keep the workers of one loop. All methods are for the loop's thread.

    Args:
        loop: the loop.
        most: number of threads at most.
        slow: seconds after which a job is named in the log; 0 never.
        clock: monotonic seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, most: int, slow: float, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._most = most
        self._slow = slow
        self._throttle = LogThrottle(clock, allocate_lock(), logger)
        self._clock = clock
        self._workers: list[_Worker] = []
        self._homes: dict[Hashable, tuple[_Worker, int]] = {}  # owner -> where its jobs are, and how many
        self._batches: dict[_Worker, list[Job]] = {}
        self._watching = False

    def submit(self, job: Job) -> None:
        """Run a job soon. Report its end with `done`, on the loop."""
        home = self._homes.get(job.owner)
        worker, count = home if home is not None else (self._choose(), 0)
        self._homes[job.owner] = (worker, count + 1)
        batch = self._batches.get(worker)
        if batch is None:
            if not self._batches:
                self._loop.call_soon(self._hand_over)
            batch = self._batches[worker] = []
        batch.append(job)
        if not self._watching:
            self._watching = True
            self._loop.call_later(_CHECK_INTERVAL, self._watch)

    def done(self, owner: Hashable) -> None:
        """Count a job of an owner as ended."""
        worker, count = self._homes[owner]
        if count == 1:
            del self._homes[owner]
        else:
            self._homes[owner] = (worker, count - 1)

    def forget(self, owner: Hashable) -> list[Job]:
        """Stop keeping later jobs of an owner behind the earlier ones, which may never end.

        Returns:
            Those that have not begun. They are taken back.
        """
        home = self._homes.pop(owner, None)
        if home is None:
            return []
        self._hand_over()  # or some could be in no queue yet
        return home[0].take_back(owner)

    def close(self) -> None:
        """End the threads, each when its queue is empty."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def _choose(self, other_than: _Worker | None = None) -> _Worker:
        now = self._clock()
        for worker in self._workers:
            if worker is other_than:
                continue
            if worker.current is None or now - worker.since < _PATIENCE:
                return worker
        if len(self._workers) < self._most:
            worker = _Worker(len(self._workers) + 1, self._clock)
            self._workers.append(worker)
            return worker
        return min(self._workers, key=lambda worker: len(worker.queue))

    def _hand_over(self) -> None:
        batches, self._batches = self._batches, {}
        for worker, jobs in batches.items():
            worker.put(jobs)

    def _watch(self) -> None:
        """Move the jobs that wait behind a slow one to other workers; name a very slow one in the log."""
        self._hand_over()  # or jobs of one owner could lie in two places
        self._watching = bool(self._homes)
        if self._watching:
            self._loop.call_later(_CHECK_INTERVAL, self._watch)
        now = self._clock()
        for worker in list(self._workers):
            job = worker.current
            if job is None:
                continue
            held = now - worker.since
            if held > _PATIENCE and worker.queue:
                self._move_on(worker)
            began = max(worker.since, job.began()) if job.began is not None else worker.since
            if self._slow and now - began > self._slow and worker.warned != began:
                worker.warned = began
                self._throttle.warning("slow", "%s has been running for %.1f s", job.label(), now - began)

    def _move_on(self, worker: _Worker) -> None:
        """Give the jobs of other owners behind a slow one to at most two other workers, so that many spread quickly."""
        with worker.lock:
            current = worker.current
            if current is None or self._clock() - worker.since <= _PATIENCE:
                return  # it has ended just now
            moving = [job for job in worker.queue if job.owner != current.owner]
            worker.queue = deque(job for job in worker.queue if job.owner == current.owner)
        owners: dict[Hashable, list[Job]] = {}
        for job in moving:
            owners.setdefault(job.owner, []).append(job)
        if not owners:
            return
        first = self._choose(worker)
        second = self._choose(first) if len(owners) > 1 else first
        for number, (owner, jobs) in enumerate(owners.items()):
            target = second if number % 2 else first
            home = self._homes.get(owner)
            if home is not None:
                self._homes[owner] = (target, home[1])
            target.put(jobs)

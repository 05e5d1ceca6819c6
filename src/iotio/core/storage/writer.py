"""Write to the store in a thread of its own: no handler and no loop waits for a disk. The SQL is in `iotio.store.sql`.

Whatever has come together while one commit ran is the next commit; marks of devices gather for a moment. When the
store cannot be written, what is kept (see `storage.batch`) waits for as long as it takes; the rest is refused after
`patience` seconds, or at once when too much waits already. A second thread watches the time, since the first may
hang in a commit.
"""

from __future__ import annotations

import atexit
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import get_logger

from ..primitives import Bell, Signal, allocate_lock, start_thread, wait
from .batch import AskRecord, AskTwins, Batch, Entry, KeptDrops, KeptSection, KeptTwins, Section, Slot, Ticket, is_kept
from .contract import Change, DropMessages, Snapshot, Store, StoreError, StoreLost, StoreUnavailable

__all__ = ["StoreWriter", "Ticket"]

logger = get_logger("iotio.store")

_GATHER = 0.02  # seconds that marks alone wait for more: when all devices come back, a commit for each costs most
_FIRST_PAUSE = 0.1  # seconds after the first failure; it doubles
_EXIT_TIMEOUT = 5.0  # seconds that the end of the program waits for what is not written yet
_WATCH = 0.5  # seconds between two looks at the time, while entries wait


class StoreWriter:
    """Writes to a store in the background. Every method may be called from any thread.

    Args:
        store: open; from now on only the writer's thread uses it, and it closes it.
        snapshot: all that the store should hold by now; called in the writer's thread when the store has lost what
            was written. It may tell of changes whose ticket is not decided yet.
        record: makes the record of a marked device; called in the writer's thread.
        twins: makes the records of marked twins; the same.
        patience: seconds that an entry waits.
        max_batch: entries that wait at a time.
        max_pause: seconds, at most, until a failed commit is tried again.

    Attributes:
        store: the store.
        written: entries that were written.
        failed: entries that were refused, given up, or wrong.
        trouble: why the store cannot be written now, "" when it can.
    """

    def __init__(
        self,
        store: Store,
        snapshot: Callable[[], Snapshot],
        record: AskRecord = lambda device_id: None,
        twins: AskTwins = lambda device_id, endpoint_ids: [],
        *,
        patience: float = 5.0,
        max_batch: int = 10_000,
        max_pause: float = 2.0,
    ) -> None:
        self.store = store
        self._snapshot = snapshot
        self._record = record
        self._twins = twins
        self._patience = patience
        self._max_batch = max_batch
        self._max_pause = max_pause
        self.written = 0
        self.failed = 0
        self.trouble = ""
        self._lock = allocate_lock()  # for what follows; never held while something is waited for
        self._pending = Batch()
        self._current: Batch | None = None  # what the thread writes
        self._aging: deque[Entry] = deque()  # all that are not decided, and some that are; the oldest first
        self._waiting = 0
        self._urgent = False  # what is pending was submitted or is waited for, so that it must not gather
        self._watched = False  # the watch looks at the time, it need not be woken
        self._unsaid = ""  # trouble that the log does not know of yet
        self._sections: list[Section] = []
        self._closed = False
        self._abandoned = False  # closed, and nobody waits for the rest any longer
        # The writing thread's own.
        self._lost = False  # the store has to be opened anew and all of it written anew
        self._pause = _FIRST_PAUSE
        self._undo: list[Slot] = []
        # A store that comes and goes must not fill the log.
        self._throttle = LogThrottle(time.monotonic, allocate_lock())
        self._work = Bell()
        self._hurry = Bell()
        self._watch = Bell()
        self._ended = Signal()
        atexit.register(self._exit)
        start_thread(self._write_all)
        start_thread(self._watch_all)

    @property
    def waiting(self) -> int:
        """Entries that are not decided yet."""
        return self._waiting

    def submit(self, *changes: Change) -> Ticket:
        """Have these changes written, together or not at all. Never blocks.

        Returns:
            What becomes of them. Changes that are all kept share a ticket with others.

        Raises:
            StoreUnavailable: too much waits already, or the writer is closed. Nothing was taken.
        """
        kept = is_kept(changes)
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self._urgent = True
            if kept:
                for change in changes:
                    self._pending.add_kept(change)
                ticket = self._pending.kept
            elif self._waiting < self._max_batch:
                ticket = self._add_entry(changes)
            else:
                self.failed += 1
                ticket = None
                if not self.trouble:
                    self.trouble = self._unsaid = f"{self._max_batch} changes wait for it already"
                problem = self.trouble
        if ticket is None:
            self._watch.ring()  # it tells the log: who submits may hold locks that a logging handler wants
            raise StoreUnavailable(f"the store cannot be written: {problem}")
        self._work.ring()
        return ticket

    def mark(self, device_id: str) -> None:
        """Have the record of a device written soon; it is made then. Never blocks; ignored after `close`."""
        with self._lock:
            if self._closed:
                return
            rings = not self._pending  # else it has been rung for what waits already
            self._pending.mark(device_id, self._record)
        if rings:
            self._work.ring()

    def add_section(self, section: Section) -> None:
        """Have a part above the core write its share whenever it is due, in one commit with what else waits."""
        with self._lock:
            self._sections.append(section)
        self._work.ring()

    def wake(self) -> None:
        """Look anew when sections are due. Never blocks."""
        self._work.ring()

    def mark_twins(self, device_id: str, endpoint_ids: Iterable[str]) -> None:
        """Have the records of twins of a device written soon; see `mark`."""
        with self._lock:
            if self._closed:
                return
            rings = not self._pending
            self._pending.mark_twins(device_id, endpoint_ids, self._twins)
        if rings:
            self._work.ring()

    def flush(self, timeout: float, *, wait: Callable[[Signal, float], bool] = wait) -> bool:
        """Wait until all that was submitted before is written or given up.

        Args:
            timeout: in seconds.
            wait: how to wait where this is called; it blocks the thread if not said otherwise.

        Returns:
            Whether it is.
        """
        with self._lock:
            batch = self._pending if self._pending else self._current
            self._urgent = True
        self._work.ring()
        return batch is None or wait(batch.done, timeout)

    def close(self, timeout: float = 5.0, *, wait: Callable[[Signal, float], bool] = wait) -> bool:
        """Take nothing more, write what waits, and close the store. Called by itself when the program ends.

        Args:
            timeout: seconds; what is not written by then is given up.
            wait: see `flush`.

        Returns:
            Whether all was written or given up before.
        """
        with self._lock:
            self._closed = True
        self._work.ring()
        self._hurry.ring()
        ended = wait(self._ended, timeout)
        atexit.unregister(self._exit)
        if not ended:
            self._abandon()
        return ended and not self._abandoned

    def _exit(self) -> None:
        self.close(_EXIT_TIMEOUT)

    def _add_entry(self, changes: tuple[Change, ...]) -> Ticket:
        entry = Entry(changes, time.monotonic() + self._patience)
        self._pending.add_entry(entry)
        self._aging.append(entry)
        self._waiting += 1
        if not self._watched:
            self._watched = True
            self._watch.ring()
        return entry.ticket

    # The thread that writes.

    def _write_all(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._write_batch(batch)
        finally:
            try:
                self.store.close()
            except Exception:
                logger.exception("the store could not be closed")
            self._ended.set()
            self._watch.ring()

    def _next_batch(self) -> Batch | None:
        """Wait for something to write; None when the writer is closed and nothing is left to do."""
        due: float | None = None  # when what gathers is to be written
        while True:
            now = time.monotonic()
            with self._lock:
                if self._abandoned:
                    return None
                later = self._add_sections(now)
                if self._pending and due is None:
                    due = now + _GATHER
                if due is not None and (due <= now or self._urgent or self._closed):
                    batch = self._current = self._pending
                    self._pending = Batch()
                    self._urgent = False
                    return batch
                self._current = None
                if self._closed:
                    return None
            until = later if due is None else min(due, later)
            self._work.wait(None if until == math.inf else max(until - now, 0.0))

    def _add_sections(self, now: float) -> float:
        """Add the sections that are due; before the end, all that have something to write. The lock is held.

        Returns:
            When the next one of the others is due.
        """
        later = math.inf
        for section in self._sections:
            due = section.due
            if section.waits if self._closed else due <= now:
                self._pending.add_section(section)
                self._urgent = True
            else:
                later = min(later, due)
        return math.inf if self._closed else later

    def _write_batch(self, batch: Batch) -> None:
        slots = batch.slots()
        while True:
            slots = [slot for slot in slots if not slot.decided]
            if self._abandoned or not (slots or self._lost or batch.is_short):
                break
            try:
                self._recover()
                if slots:
                    self._write(batch, slots)
                if batch.is_short:
                    self.store.replace(self._snapshot())
                    batch.is_short = False
            except Exception as error:
                self._commit_failed(error)
                self._hurry.wait(self._pause)
                self._pause = min(2 * self._pause, _FIRST_PAUSE if self._closed else self._max_pause)
            else:
                self._pause = _FIRST_PAUSE
                self._end_trouble()
                slots, self._undo = [*slots, *self._undo], []
        self._finish(batch, None)

    def _recover(self) -> None:
        """If what was written before is gone, write it again."""
        if self._lost:
            self.store.close()
            self.store.open()
            self.store.replace(self._snapshot())
            for section in self._sections:
                section.lost()
            self._lost = False

    def _write(self, batch: Batch, slots: list[Slot]) -> None:
        """Write these, but for the ones that can never be written: look for them by halves.

        Raises:
            StoreError: the store is to blame; those that are written are marked as decided.
        """
        wrong = self._commit(slots)
        if wrong is None:
            self._settle(slots)
        elif len(slots) == 1:
            self._refuse(batch, slots[0], wrong)
        else:
            middle = len(slots) // 2
            self._write(batch, slots[:middle])
            self._write(batch, slots[middle:])

    def _commit(self, slots: list[Slot]) -> Exception | None:
        """Commit these. Returns what is wrong with one of them, if the store is not to blame."""
        try:
            self.store.commit([change for slot in slots for change in slot.changes()])
        except StoreError:
            raise
        except Exception as error:
            return error
        return None

    def _settle(self, slots: list[Slot]) -> None:
        """Mark these as written, and undo those that were given up meanwhile."""
        settled: list[Entry] = []
        with self._lock:
            for slot in slots:
                if not isinstance(slot, Entry):
                    slot.decided = True
                elif self._decide(slot):
                    settled.append(slot)
                else:
                    self._undo.extend(self._undone(slot))
            self.written += len(settled)
        for slot in slots:
            if isinstance(slot, KeptSection):
                slot.section.settled(None)
        for entry in settled:
            _tell(entry.ticket, None)

    def _undone(self, entry: Entry) -> list[Slot]:
        """Take back an entry that was written and given up: its sender was told that it is not stored."""
        slots: list[Slot] = []
        for device_id, number in entry.messages():
            drops = KeptDrops(device_id)
            drops.merge(DropMessages(device_id, (number,)))
            slots.append(drops)
        for device_id, endpoint_id in entry.twins():
            twins = KeptTwins(device_id, self._twins)
            twins.mark((endpoint_id,))
            slots.append(twins)
        return slots

    def _refuse(self, batch: Batch, slot: Slot, error: Exception) -> None:
        """Give up a slot that can never be written."""
        if isinstance(slot, Entry):
            self._fail([slot], error)
            return
        slot.decided = True
        if isinstance(slot, KeptSection):
            slot.section.settled(error)
            return
        batch.kept.error = error
        level = logging.DEBUG if self._throttle.ask("wrong") is None else logging.ERROR
        logger.log(level, "this cannot be stored: %s", list(slot.changes()), exc_info=error)

    def _finish(self, batch: Batch, error: Exception | None) -> None:
        """Tell that a batch is written, or given up."""
        with self._lock:
            if batch.finished:
                return
            batch.finished = True
        _tell(batch.kept, error or batch.kept.error)
        batch.done.set()

    def _commit_failed(self, error: Exception) -> None:
        """Note that a commit failed."""
        self._lost = self._lost or isinstance(error, StoreLost)
        if not isinstance(error, StoreError):
            logger.error("the store has failed in a way that it should not", exc_info=error)
        self._begin_trouble(str(error))

    # Giving up.

    def _watch_all(self) -> None:
        while not self._ended.is_set:
            with self._lock:
                self._watched = watched = bool(self._aging)
            self._watch.wait(min(_WATCH, self._patience / 4) if watched else None)
            self._say_unsaid()
            late = self._take_late(time.monotonic())
            if late:
                problem = self._begin_trouble(f"it has not answered for {self._patience:g} s", first=True)
                self._fail(late, StoreUnavailable(f"not stored within {self._patience:g} s: {problem}"))

    def _take_late(self, now: float) -> list[Entry]:
        """Take the entries that have waited too long; pass over those that are decided."""
        late = []
        with self._lock:
            while self._aging and (self._aging[0].decided or self._aging[0].deadline <= now):
                entry = self._aging.popleft()
                if not entry.decided:
                    late.append(entry)
        return late

    def _abandon(self) -> None:
        """Fail every write that is left with StoreUnavailable: the store is closed, and there was no time for them."""
        with self._lock:
            self._abandoned = True
            batches = [batch for batch in (self._current, self._pending) if batch is not None]
            entries = list(self._aging)
        error = StoreUnavailable(f"the store was closed before this was written: {self.trouble or 'no time was left'}")
        self._fail(entries, error)
        for batch in batches:
            self._finish(batch, error)
        logger.error("not all could be written before the store was closed: %s", self.trouble or "no time was left")
        self._hurry.ring()

    def _fail(self, entries: Sequence[Entry], error: Exception) -> None:
        with self._lock:
            failed = [entry for entry in entries if self._decide(entry)]
            self.failed += len(failed)
        for entry in failed:
            _tell(entry.ticket, error)

    def _decide(self, entry: Entry) -> bool:
        """Decide an entry. Returns False if it was decided before. The lock is held."""
        if entry.decided:
            return False
        entry.decided = True
        self._waiting -= 1
        return True

    # What the log says.

    def _begin_trouble(self, problem: str, *, first: bool = False) -> str:
        """Note that the store cannot be written. Returns why; with `first`, what was said before counts."""
        with self._lock:
            begins = not self.trouble
            if begins or not first:
                self.trouble = problem
            problem = self.trouble
        if begins:
            self._say_trouble(problem)
        return problem

    def _say_trouble(self, problem: str) -> None:
        level = logging.ERROR if self._throttle.ask("trouble") is not None else logging.DEBUG
        logger.log(level, "the store cannot be written: %s; durable messages are refused until it can", problem)

    def _say_unsaid(self) -> None:
        with self._lock:
            unsaid, self._unsaid = self._unsaid, ""
        if unsaid:
            self._say_trouble(unsaid)

    def _end_trouble(self) -> None:
        self._say_unsaid()
        with self._lock:
            ended, self.trouble = self.trouble, ""
        if ended:
            told = self._throttle.ask("over") is not None
            logger.log(logging.WARNING if told else logging.DEBUG, "the store can be written again")


def _tell(ticket: Ticket, error: Exception | None) -> None:
    ticket.error = error
    try:
        ticket.done.set()
    except Exception:  # a callback of somebody's must not stop the writer
        logger.exception("a callback of a ticket has failed")

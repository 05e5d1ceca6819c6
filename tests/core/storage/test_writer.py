"""What is to be stored is written by a thread of its own, or refused, and nobody waits for it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from iotio.core.storage.contract import (
    Change,
    DropDevice,
    DropMessages,
    Heard,
    PutDevice,
    PutMessage,
    Run,
    Snapshot,
    StoreError,
    StoreLost,
    StoreUnavailable,
)
from iotio.core.storage.writer import StoreWriter, Ticket
from iotio.store import MemoryStore
from tests.store.records import device, message

PATIENCE = 0.2  # seconds, where a test waits for its end


class TroubledStore(MemoryStore):
    """Stalls or fails when told to, and notes what it is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.problem: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Semaphore(0)  # one more for each call of commit
        self.commits: list[list[Change]] = []
        self.opens = threading.Semaphore(0)
        self.closed = 0
        self.thread: int | None = None

    def open(self) -> None:
        self.opens.release()
        if self.problem is not None:
            raise self.problem

    def close(self) -> None:
        self.closed += 1

    def commit(self, changes: Sequence[Change]) -> None:
        self.thread = threading.get_ident()
        problem = self.problem
        self.asked.release()
        self.answers.wait(20)
        if problem is not None:
            raise problem
        super().commit(changes)
        self.commits.append(list(changes))


StartWriter = Callable[..., StoreWriter]


@pytest.fixture
def store() -> TroubledStore:
    """Without trouble yet."""
    return TroubledStore()


@pytest.fixture
def start(store: TroubledStore) -> Iterator[StartWriter]:
    """Start the writer of `store`."""
    writers: list[StoreWriter] = []

    def function(**values: Any) -> StoreWriter:
        writers.append(StoreWriter(store, values.pop("snapshot", Snapshot), **values))
        return writers[-1]

    yield function
    store.problem = None
    store.answers.set()
    for writer in writers:
        writer.close(5)


def stall(store: TroubledStore, writer: StoreWriter) -> Ticket:
    """Have the writer hang in a commit."""
    store.answers.clear()
    ticket = writer.submit(PutMessage(message(1, "first")))
    assert store.asked.acquire(timeout=5)
    return ticket


def error_of(ticket: Ticket) -> Exception | None:
    with pytest.raises(StoreUnavailable) as caught:
        ticket.wait(5)
    return caught.value


def test_what_is_submitted_is_written(store: TroubledStore, start: StartWriter) -> None:
    writer = start()
    ticket = writer.submit(PutDevice(device()), PutMessage(message(7)))
    ticket.wait(5)
    assert store.load() == Snapshot((device(counter=7),), (message(7),))
    assert (writer.written, writer.waiting, writer.failed, writer.trouble) == (1, 0, 0, "")
    assert store.thread != threading.get_ident()
    writer.submit(DropMessages("lamp", (7,))).wait(5)
    assert store.load().messages == ()
    assert writer.written == 1, "counts entries"


def test_what_comes_meanwhile_is_one_commit(store: TroubledStore, start: StartWriter) -> None:
    writer = start()
    stall(store, writer)
    tickets = [writer.submit(PutMessage(message(number))) for number in range(500)]
    assert writer.waiting == 501
    store.answers.set()
    for ticket in tickets:
        ticket.wait(5)
    assert [len(commit) for commit in store.commits] == [1, 500]
    assert [one.number for one in store.load().messages if one.device_id == "lamp"] == list(range(500))


def test_submit_never_blocks(store: TroubledStore, start: StartWriter) -> None:
    """While a commit hangs, that is; and what is kept takes no more room however often it is said."""
    writer = start()
    stall(store, writer)
    took = []
    for number in range(5000):
        before = time.thread_time()  # a busy machine is not the writer's fault; blocked it would hang until the end
        writer.submit(PutMessage(message(number)))
        writer.submit(PutDevice(device(counter=number)))
        writer.submit(Heard("lamp", "d1", number))
        writer.submit(DropMessages("lamp", (number,)))
        took.append(time.thread_time() - before)
    assert sum(took) / len(took) < 0.001
    store.answers.set()
    assert writer.flush(10)
    written = store.commits[1]
    assert [type(change) for change in written[:2]] == [PutMessage, PutDevice]
    assert [type(change) for change in written if not isinstance(change, PutMessage)] == [
        PutDevice,
        Heard,
        DropMessages,
    ]
    assert store.load().devices == (device(counter=4999, heard_stream="d1", heard=4999),)
    assert [one.device_id for one in store.load().messages] == ["first"]


def test_a_full_backlog_is_refused_at_once(
    store: TroubledStore, start: StartWriter, caplog: pytest.LogCaptureFixture
) -> None:
    writer = start(max_batch=10)
    stall(store, writer)
    tickets = [writer.submit(PutMessage(message(number))) for number in range(9)]
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="10 changes wait for it already"):
            writer.submit(PutMessage(message(99)))
    kept = [writer.submit(PutDevice(device(f"d{number}"))) for number in range(100)]
    store.answers.set()
    for ticket in (*tickets, *kept):
        ticket.wait(5)
    assert len(store.load().messages) == 10
    assert len(store.load().devices) == 100
    assert writer.failed == 3
    assert len(caplog.records) == 2, "it began, it is over"


def test_devices_that_come_and_are_forgotten_while_the_store_hangs(store: TroubledStore, start: StartWriter) -> None:
    """Each has another id. Only so many deletions are kept: behind them all is written anew, once it can be."""
    known = {"old": device("old"), "lasting": device("lasting")}
    writer = start(record=known.get, snapshot=lambda: Snapshot(tuple(known.values()), (message(1, "lasting"),)))
    writer.submit(*map(PutDevice, known.values())).wait(5)
    stalled = stall(store, writer)
    kept = writer.submit(DropDevice(known.pop("old").id))
    entry = writer.submit(PutMessage(message(1, "lasting")))
    for number in range(30_000):
        writer.mark(f"d{number}")
        writer.submit(DropMessages(f"d{number}", (1,)))
        writer.submit(DropDevice(f"d{number}"))
        assert len(writer._pending.slots()) <= 10_002
    store.answers.set()
    for ticket in (stalled, kept, entry):
        ticket.wait(5)
    assert writer.flush(5)
    assert store.load() == Snapshot((known["lasting"],), (message(1, "lasting"),))


def test_who_waits_too_long_is_told(store: TroubledStore, start: StartWriter, caplog: pytest.LogCaptureFixture) -> None:
    """A commit that hangs for ever: the other thread tells it. What is written after all is taken back."""
    writer = start(patience=PATIENCE)
    tickets = [stall(store, writer), writer.submit(PutMessage(message(1)), Heard("lamp", "d1", 1))]
    kept = [writer.submit(change) for change in (PutDevice(device()), Heard("lamp", "d1", 3))]
    for ticket in tickets:
        assert str(error_of(ticket)) == "not stored within 0.2 s: it has not answered for 0.2 s"
    assert not any(ticket.done.is_set for ticket in kept)
    assert (writer.waiting, writer.failed) == (0, 2)
    store.answers.set()
    for ticket in kept:
        ticket.wait(5)
    assert store.load() == Snapshot((device(heard_stream="d1", heard=3),), ())
    assert DropMessages("first", (1,)) in store.commits[1]
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert writer.trouble == ""


def test_a_failing_store(store: TroubledStore, start: StartWriter, caplog: pytest.LogCaptureFixture) -> None:
    """The log says it once; what is kept is written when it is over."""
    writer = start(patience=PATIENCE, max_pause=0.1)
    store.commit([PutDevice(device("gone")), PutMessage(message(1)), PutMessage(message(2))])
    store.problem = StoreError("the disk is full")
    kept = [
        writer.submit(change)
        for change in (PutDevice(device()), Heard("lamp", "d1", 4), DropMessages("lamp", (1,)), DropDevice("gone"))
    ]
    assert store.asked.acquire(timeout=5)
    for ticket in [writer.submit(PutMessage(message(number))) for number in (3, 4, 5)]:
        assert "the disk is full" in str(error_of(ticket))
    assert writer.trouble == "the disk is full"
    assert [record.getMessage() for record in caplog.records] == [
        "the store cannot be written: the disk is full; durable messages are refused until it can"
    ]
    writer.submit(DropMessages("lamp", (2,)))
    store.problem = None
    assert writer.flush(5)
    for ticket in kept:
        ticket.wait(0)
    assert store.load() == Snapshot((device(heard_stream="d1", heard=4),), ())
    assert [record.getMessage() for record in caplog.records][1:] == ["the store can be written again"]
    assert (writer.written, writer.failed, writer.waiting) == (0, 3, 0)


def test_a_short_trouble_refuses_nothing(store: TroubledStore, start: StartWriter) -> None:
    writer = start(max_pause=0.05)
    store.problem = StoreError("locked")
    ticket = writer.submit(PutMessage(message(1)))
    for _ in range(3):
        assert store.asked.acquire(timeout=5)
    assert not ticket.done.is_set
    store.problem = None
    ticket.wait(5)
    assert (writer.written, writer.failed) == (1, 0)


def test_a_mixed_entry_is_refused_as_a_whole(store: TroubledStore, start: StartWriter) -> None:
    writer = start(patience=PATIENCE)
    store.problem = StoreError("locked")
    error_of(writer.submit(PutDevice(device()), PutMessage(message(1))))
    store.problem = None
    writer.submit(Heard("lamp", "d1", 1)).wait(5)
    assert store.load() == Snapshot()


def test_a_store_that_comes_and_goes_does_not_fill_the_log(
    store: TroubledStore, start: StartWriter, caplog: pytest.LogCaptureFixture
) -> None:
    writer = start()
    for number in range(30):
        store.problem = StoreError("no")
        ticket = writer.submit(PutMessage(message(number)))
        assert store.asked.acquire(timeout=5)
        store.problem = None
        writer._hurry.ring()
        ticket.wait(5)
        store.asked.acquire(timeout=5)
    caplog.handler.flush()
    assert 2 <= len([one for one in caplog.records if one.levelno >= logging.WARNING]) <= 20


def test_what_can_never_be_written_fails_alone(
    store: TroubledStore, start: StartWriter, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise KeyError("mine")

    writer = start()
    stall(store, writer)
    tickets = [writer.submit(PutMessage(message(number))) for number in range(40)]
    bad = [writer.submit(PutMessage(message(99)), Run(fail)), writer.submit(Run(fail))]
    tickets += [writer.submit(PutMessage(message(number))) for number in range(40, 80)]
    tickets.append(writer.submit(PutDevice(device())))
    store.answers.set()
    for ticket in tickets:
        ticket.wait(5)
    for ticket in bad:
        with pytest.raises(KeyError, match="mine"):
            ticket.wait(5)
    assert [one.number for one in store.load().messages if one.device_id == "lamp"] == list(range(80))
    assert writer.failed == 2
    assert caplog.records == [], "who submitted it was told"


def test_a_record_that_can_never_be_written_is_logged(
    store: TroubledStore, start: StartWriter, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = MemoryStore.commit

    def commit(self: MemoryStore, changes: Sequence[Change]) -> None:
        if PutDevice(device("bad")) in changes:
            raise TypeError("not JSON")
        apply(self, changes)

    writer = start()
    stall(store, writer)
    monkeypatch.setattr(MemoryStore, "commit", commit)
    ticket = [writer.submit(PutDevice(device(name))) for name in ("a", "bad", "b")][-1]
    store.answers.set()
    with pytest.raises(TypeError, match="not JSON"):
        ticket.wait(5)
    assert {one.id for one in store.load().devices} == {"a", "b"}
    assert ["bad" in record.getMessage() for record in caplog.records] == [True]


def test_a_store_that_can_write_nothing_does_not_fill_the_log(
    store: TroubledStore, start: StartWriter, caplog: pytest.LogCaptureFixture
) -> None:
    writer = start()
    stall(store, writer)
    tickets = [writer.submit(PutDevice(device(f"d{number}"))) for number in range(200)]
    store.problem = TypeError("a defect of the store")
    store.answers.set()
    with pytest.raises(TypeError, match="defect"):
        tickets[-1].wait(5)
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 10
    assert "During handling" not in (caplog.records[-1].exc_text or "")


def test_a_store_that_has_lost_all_is_written_anew(
    store: TroubledStore, start: StartWriter, caplog: pytest.LogCaptureFixture
) -> None:
    memory = Snapshot((device(counter=5), device("other")), (message(4), message(5)))
    writer = start(snapshot=lambda: memory, max_pause=0.05)
    store.problem = StoreLost("iotio.db was deleted")
    kept = writer.submit(DropMessages("lamp", (4,)))
    new = writer.submit(PutMessage(message(6)))
    assert store.asked.acquire(timeout=5)
    assert store.opens.acquire(timeout=5), "and now it cannot even be opened"
    store.problem = None
    kept.wait(5)
    new.wait(5)
    assert store.load() == Snapshot((device(counter=6), device("other")), (message(5), message(6)))
    assert store.opens.acquire(timeout=5)
    assert len(caplog.records) == 2


def test_it_is_written_anew_even_when_nothing_else_waits(store: TroubledStore, start: StartWriter) -> None:
    writer = start(snapshot=lambda: Snapshot((device(),)), patience=PATIENCE, max_pause=0.05)
    store.problem = StoreLost("iotio.db was deleted")
    ticket = writer.submit(PutMessage(message(1)))
    assert store.asked.acquire(timeout=5)
    error_of(ticket)
    store.problem = None
    assert writer.flush(5)
    assert store.load() == Snapshot((device(),))


def test_a_broken_callback_stops_nothing(
    store: TroubledStore, start: StartWriter, caplog: pytest.LogCaptureFixture
) -> None:
    writer = start()
    ticket = stall(store, writer)
    ticket.done.add_callback(lambda: 1 / 0)
    store.answers.set()
    writer.submit(PutMessage(message(1))).wait(5)
    assert "callback" in caplog.text


def test_flush(store: TroubledStore, start: StartWriter) -> None:
    writer = start()
    assert writer.flush(0)
    stall(store, writer)
    assert not writer.flush(0.01)
    writer.submit(PutDevice(device()))
    assert not writer.flush(0.01)
    store.answers.set()
    assert writer.flush(5)
    assert len(store.load().devices) == 1


def test_close_writes_what_waits(store: TroubledStore, start: StartWriter) -> None:
    writer = start()
    stall(store, writer)
    tickets = [writer.submit(PutMessage(message(number))) for number in range(100)]
    threading.Timer(0.05, store.answers.set).start()
    assert writer.close(5)
    assert len(store.load().messages) == 101
    assert all(ticket.done.is_set and ticket.error is None for ticket in tickets)
    assert store.closed == 1
    with pytest.raises(StoreUnavailable, match="closed"):
        writer.submit(PutDevice(device()))
    assert writer.close(5), "harmless"


def test_close_does_not_wait_for_ever(
    store: TroubledStore, start: StartWriter, caplog: pytest.LogCaptureFixture
) -> None:
    writer = start()
    stuck = stall(store, writer)
    tickets = [stuck, writer.submit(PutMessage(message(1))), writer.submit(PutDevice(device()))]
    assert not writer.close(0.05)
    for ticket in tickets:
        assert "closed before" in str(error_of(ticket))
    assert writer.waiting == 0
    assert len(caplog.records) == 1
    store.answers.set()
    assert not writer.close(5), "the rest was given up"
    assert store.closed == 1


def test_close_while_it_fails(store: TroubledStore, start: StartWriter) -> None:
    """It is tried until the end, and then given up."""
    writer = start(max_pause=20)
    store.problem = StoreError("locked")
    ticket = writer.submit(PutMessage(message(1)))
    assert store.asked.acquire(timeout=5)
    threading.Timer(0.05, setattr, (store, "problem", None)).start()
    assert writer.close(5)
    ticket.wait(0)


@pytest.mark.parametrize("_", range(5))
def test_many_threads(store: TroubledStore, start: StartWriter, _: int) -> None:
    writer = start()
    tickets: list[Ticket] = []

    def run(name: str) -> None:
        for number in range(1, 101):
            tickets.append(writer.submit(PutMessage(message(number, name))))
            writer.submit(PutDevice(device(name, counter=number)))

    threads = [threading.Thread(target=run, args=(f"d{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert writer.flush(10)
    assert all(ticket.done.is_set and ticket.error is None for ticket in tickets)
    assert len(store.load().messages) == 600
    assert {one.counter for one in store.load().devices} == {100}
    assert (writer.written, writer.waiting) == (600, 0)


PROGRAM = """
{patch}
import logging, sys
from iotio.core.storage import writer
from iotio.core.storage.contract import PutMessage, Snapshot
from iotio.store import MemoryStore
from tests.store.records import message
import time
logging.basicConfig(format="%(message)s", stream=sys.stdout)
writer._EXIT_TIMEOUT = 0.3
real_sleep = time.sleep
{real}
class Slow(MemoryStore):
    def commit(self, changes):
        real_sleep({seconds})
        super().commit(changes)
    def close(self):
        print("stored", len(self.load().messages), flush=True)
one = writer.StoreWriter(Slow(), Snapshot)
one.submit(PutMessage(message(1)))
real_sleep(0.02)
one.submit(PutMessage(message(2)))
print("end", flush=True)
"""
GEVENT = ("from gevent import monkey; monkey.patch_all()", 'real_sleep = monkey.get_original("time", "sleep")')


@pytest.mark.parametrize(("patch", "real"), [("", ""), GEVENT], ids=["plain", "gevent"])
@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.05, ["end", "stored 2"]),
        (60, ["end", "not all could be written before the store was closed: no time was left"]),
    ],
)
def test_the_end_of_the_program(patch: str, real: str, seconds: float, said: list[str]) -> None:
    """It waits for what can be written in time, and not for a disk that hangs."""
    program = PROGRAM.format(patch=patch, real=real, seconds=seconds)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == said


def test_a_marked_device_is_asked_for_in_the_thread_that_writes(start: StartWriter, store: TroubledStore) -> None:
    threads: list[int] = []

    def record(name: str) -> Any:
        threads.append(threading.get_ident())
        return device(name) if name == "lamp" else None

    writer = start(record=record)
    for name in ("lamp", "nosuch"):
        writer.mark(name)
    assert writer.flush(5)
    assert store.load().devices == (device(),)
    assert set(threads) == {store.thread}
    assert writer.close()
    writer.mark("late")
    assert store.load().devices == (device(),)


@pytest.mark.parametrize("how", ["flush", "submit", "close"])
def test_marks_gather_until_something_is_waited_for(
    start: StartWriter, store: TroubledStore, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("iotio.core.storage.writer._GATHER", 60.0)
    writer = start(record=device)
    for name in ("a", "b", "c"):
        writer.mark(name)
    assert not store.asked.acquire(timeout=0.1)
    if how == "flush":
        assert writer.flush(5)
    elif how == "submit":
        writer.submit(PutMessage(message(1))).wait(5)
    else:
        assert writer.close(5)
    assert [one.id for one in store.load().devices] == ["a", "b", "c"]
    assert len(store.commits) == 1


def test_marks_are_written_soon(start: StartWriter, store: TroubledStore) -> None:
    start(record=device).mark("a")
    assert store.asked.acquire(timeout=5)


class Numbers:
    """A section that writes numbers, in memory."""

    def __init__(self) -> None:
        self.due = float("inf")
        self.waiting: list[int] = []
        self.taken: list[int] = []
        self.settlings: list[Exception | None] = []
        self.losses = 0
        self.settled_once = threading.Event()

    @property
    def waits(self) -> bool:
        return bool(self.waiting or self.taken)

    def changes(self) -> Sequence[Change]:
        if not self.taken:
            self.taken, self.waiting = self.waiting, []
        return [Run(self.write)]

    def write(self, connection: object) -> None:
        if -1 in self.taken:
            raise ValueError("no such number")

    def settled(self, error: Exception | None) -> None:
        self.taken = []
        self.due = time.monotonic() if self.waiting else float("inf")
        self.settlings.append(error)
        self.settled_once.set()

    def lost(self) -> None:
        self.losses += 1


def section_of(writer: StoreWriter, *numbers: int) -> Numbers:
    """A section that wants numbers written at once."""
    section = Numbers()
    section.waiting = list(numbers)
    section.due = 0.0
    writer.add_section(section)
    return section


def test_a_section_is_written_when_it_is_due() -> None:
    store = TroubledStore()
    writer = StoreWriter(store, Snapshot)
    section = section_of(writer, 1)
    assert section.settled_once.wait(10)
    assert section.settlings == [None]
    section.settled_once.clear()
    section.waiting, section.due = [2], time.monotonic() + 0.05
    writer.wake()
    assert section.settled_once.wait(10)
    assert time.monotonic() >= section.due or section.due == float("inf")
    assert len(store.commits) == 2
    writer.close()


def test_a_section_and_what_else_waits_are_one_commit() -> None:
    store = TroubledStore()
    writer = StoreWriter(store, Snapshot)
    store.answers.clear()
    first = writer.submit(PutMessage(message(1)))
    assert store.asked.acquire(timeout=10)
    section = section_of(writer, 1)
    second = writer.submit(PutMessage(message(2)))
    store.answers.set()
    first.wait(10)
    second.wait(10)
    assert section.settled_once.wait(10)
    assert [len(changes) for changes in store.commits] == [1, 2]
    writer.close()


def test_a_section_is_tried_again_until_it_is_written() -> None:
    store = TroubledStore()
    store.problem = StoreLost("gone")
    writer = StoreWriter(store, Snapshot, max_pause=0.01)
    section = section_of(writer, 1)
    assert store.asked.acquire(timeout=10)
    store.problem = None
    assert section.settled_once.wait(10)
    assert (section.settlings, section.losses) == ([None], 1)
    writer.close()


def test_what_a_section_can_never_write_is_told_to_it() -> None:
    writer = StoreWriter(TroubledStore(), Snapshot)
    section = section_of(writer, -1)
    ticket = writer.submit(PutMessage(message(1)))
    ticket.wait(10)
    assert section.settled_once.wait(10)
    assert str(section.settlings[0]) == "no such number"
    writer.close()


def test_what_a_section_has_left_is_written_before_the_end() -> None:
    writer = StoreWriter(TroubledStore(), Snapshot)
    section = Numbers()
    writer.add_section(section)
    section.waiting = [1]
    assert writer.close()
    assert section.settlings == [None]

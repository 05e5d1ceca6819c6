"""Locks, threads and signals that gevent leaves alone."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from iotio.core.primitives import Bell, Signal, allocate_lock, start_thread, wait


def test_a_signal_calls_back_once() -> None:
    signal = Signal()
    calls: list[int] = []
    signal.add_callback(lambda: calls.append(1))
    assert calls == []
    signal.set()
    signal.set()
    assert signal.is_set
    assert calls == [1]
    signal.add_callback(lambda: calls.append(2))
    assert calls == [1, 2], "it has happened: at once"


def test_waiting() -> None:
    signal = Signal()
    started = time.monotonic()
    assert not wait(signal, 0.02)
    assert not wait(signal, -1)
    assert time.monotonic() - started < 1
    threading.Timer(0.02, signal.set).start()
    assert wait(signal, 5)
    assert wait(signal, None)


def test_a_signal_after_the_time_is_harmless() -> None:
    signal = Signal()
    assert not wait(signal, 0)
    signal.set()
    assert wait(signal, 0)


def test_a_bell_rings_once_for_all_that_was_rung() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    bell.wait(None)
    started = time.monotonic()
    bell.wait(0.02)
    assert time.monotonic() - started > 0.015
    threading.Timer(0.02, bell.ring).start()
    bell.wait(5)
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("_", range(50))
def test_nobody_misses_a_signal(_: int) -> None:
    signal = Signal()
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(wait(signal, 5))) for _ in range(8)]
    for number, thread in enumerate(threads):
        thread.start()
        if number == 4:
            signal.set()
    for thread in threads:
        thread.join(5)
    assert results == [True] * 8


def test_locks_and_threads_are_the_interpreters() -> None:
    assert repr(type(allocate_lock())) == "<class '_thread.lock'>"
    done = Signal()
    start_thread(done.set)
    assert wait(done, 5)


PATCHED = """
from gevent import monkey; monkey.patch_all()
import _thread
from iotio.core.primitives import Signal, allocate_lock, start_thread, wait
assert type(allocate_lock()).__module__ == "_thread"
assert monkey.get_original("_thread", "allocate_lock") is not _thread.allocate_lock
seen = []
done = Signal()
me = monkey.get_original("_thread", "get_ident")
def run():
    seen.append(me())
    done.set()
start_thread(run)
assert wait(done, 5)
assert seen != [me()], "a thread of its own, not a greenlet"
"""


def test_in_a_monkey_patched_program_too() -> None:
    subprocess.run([sys.executable, "-c", PATCHED], check=True, timeout=30)

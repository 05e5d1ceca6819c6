"""The lock of a connection: the same promises, compiled or not."""

from __future__ import annotations

import threading

import pytest

from iotio.core.lock import Lock


def test_one_at_a_time() -> None:
    lock, inside, most = Lock(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(2000):
            with lock:
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)


def test_whoever_comes_later_waits() -> None:
    lock, taken = Lock(), threading.Event()

    def take() -> None:
        with lock:
            taken.set()

    assert lock.acquire()
    thread = threading.Thread(target=take)
    thread.start()
    assert not taken.wait(0.05)
    lock.release()
    assert taken.wait(5)
    thread.join()


def test_an_error_releases_it() -> None:
    lock = Lock()
    with pytest.raises(KeyError), lock:
        raise KeyError
    assert lock.acquire()
    lock.release()


def test_another_thread_may_release_it() -> None:
    lock = Lock()
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    with lock:
        pass

"""Where background work runs without a server's loop: in threads, in greenlets, on the loop thread."""

from __future__ import annotations

import threading
from contextvars import Context

import gevent
import gevent.event
import pytest

from iotio.core.primitives import get_ident, wait
from iotio.hosts.blocking import work_place
from iotio.hosts.blocking.greenlets import hub_here
from iotio.hosts.blocking.loop_thread import LoopThread
from iotio.hosts.blocking.work_place import BlockingPlace
from tests.support.memory import make_manager

WAIT = 5.0  # seconds


def in_a_thread(function: object) -> None:
    thread = threading.Thread(target=function)  # type: ignore[arg-type]  # any function will do
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_a_def_has_a_thread_of_its_own_and_the_rest_the_loop_thread() -> None:
    loop_thread, seen, ran = LoopThread(make_manager()), list[int](), threading.Event()
    place = BlockingPlace(loop_thread)

    async def work() -> bool:
        return loop_thread.is_current

    def run() -> None:
        seen.append(get_ident())
        ran.set()

    place.run_def(run, "work")
    assert ran.wait(WAIT)
    assert seen != [get_ident()]
    outcome = place.submit(work(), Context())
    assert wait(outcome.done, WAIT)
    assert outcome.error is None
    loop_thread.stop()


def test_when_no_thread_can_start_any_more_the_function_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(target: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(work_place, "start_thread", no_thread)
    seen: list[int] = []
    BlockingPlace(LoopThread(make_manager())).run_def(lambda: seen.append(get_ident()), "on_stop")
    assert seen == [get_ident()]


def test_under_gevent_a_def_has_a_greenlet_of_the_hub_that_serves() -> None:
    loop_thread, seen = LoopThread(make_manager()), list[bool]()
    place = BlockingPlace(loop_thread)

    def serve() -> None:
        hub = gevent.get_hub()
        done = gevent.event.Event()

        def run() -> None:
            gevent.sleep(0)
            seen.append(gevent.get_hub() is hub and isinstance(gevent.getcurrent(), gevent.Greenlet))
            done.set()

        def request() -> None:
            place.begin()
            place.run_def(run, "here")
            done.clear()
            threading.Thread(target=place.run_def, args=(run, "from another thread")).start()
            assert done.wait(WAIT)

        gevent.spawn(request).get(timeout=WAIT)
        hub.destroy(destroy_loop=True)

    in_a_thread(serve)
    assert seen == [True, True]
    loop_thread.stop()


def test_a_thread_of_no_hub_is_no_greenlet() -> None:
    found: list[object] = []

    in_a_thread(lambda: found.append(hub_here()))
    assert found == [None]


def test_its_end_stops_the_loop_thread() -> None:
    loop_thread = LoopThread(make_manager())
    loop = loop_thread.loop
    BlockingPlace(loop_thread).end()
    assert loop.is_closed()

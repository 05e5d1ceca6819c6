"""When a client sends a ping, and when it takes the server for gone."""

from __future__ import annotations

import pickle
from dataclasses import replace
from math import inf

import pytest

from iotio_client.liveness import Liveness
from iotio_client.opening import NO_WELCOME, Welcome
from iotio_protocol.options import Options

SERVER = Welcome(ping_interval=60, ping_timeout=5)


def test_a_ping_after_silence_and_the_end_after_more() -> None:
    liveness = Liveness(Options(), SERVER, 100)
    assert (liveness.left(100), liveness.left(130), liveness.left(161)) == (60, 30, 0)
    assert not liveness.needs_ping(159)
    assert not liveness.is_gone(1000)  # nobody was asked
    assert liveness.needs_ping(160)
    assert not liveness.needs_ping(161)
    assert liveness.left(161) == 4
    assert not liveness.is_gone(164)
    assert liveness.is_gone(165)


def test_whatever_comes_is_a_sign_of_life() -> None:
    liveness = Liveness(Options(), SERVER, 0)
    liveness.heard(50)
    assert liveness.left(60) == 50
    assert not liveness.needs_ping(60)
    assert liveness.needs_ping(110)
    liveness.heard(110)  # the answer, in the same tick of the clock
    assert not liveness.is_gone(169)
    assert liveness.left(111) == 59
    assert liveness.needs_ping(170)
    assert liveness.is_gone(175)


def test_a_ping_that_was_long_on_its_way_has_its_time_behind_that() -> None:
    """Another thread was sending a large message."""
    liveness = Liveness(Options(), SERVER, 100)
    assert liveness.needs_ping(160)
    liveness.sent(175)
    assert liveness.left(175) == 5
    assert not liveness.is_gone(179)
    assert liveness.is_gone(180)
    liveness.heard(170)
    assert not liveness.is_gone(200), "it came behind the question"


def test_a_look_that_comes_late_asks_before_it_gives_up() -> None:
    """As after a handler that kept the reader waiting."""
    liveness = Liveness(Options(), SERVER, 0)
    assert not liveness.is_gone(10_000)
    assert liveness.needs_ping(10_000)
    assert liveness.left(10_000) == 5


def test_no_pings() -> None:
    liveness = Liveness(Options(ping_interval=0), SERVER, 0)
    assert liveness.left(10_000) == inf
    assert not liveness.needs_ping(10_000)
    assert not liveness.is_gone(10_000)


@pytest.mark.parametrize(
    ("options", "server", "interval", "timeout"),
    [
        (Options(), SERVER, 60, 5),
        (Options(max_payload=5), SERVER, 60, 5),
        (Options(ping_interval=7), SERVER, 7, 5),
        (Options(ping_timeout=7), SERVER, 60, 7),
        (Options(ping_interval=20, ping_timeout=10), SERVER, 20, 10),  # as much as the default, but chosen
        (replace(Options(ping_interval=20.0), max_payload=5), SERVER, 20, 5),
        (replace(Options(), max_payload=5), SERVER, 60, 5),
        (pickle.loads(pickle.dumps(Options())), SERVER, 60, 5),
        (Options(ping_interval=0), SERVER, 0, 5),
        (Options(), Welcome(ping_interval=0, ping_timeout=0), 20, 10),  # it sends none, but may be gone all the same
        (Options(), NO_WELCOME, 20, 10),  # of protocol 1
    ],
)
def test_what_the_program_has_chosen_wins(options: Options, server: Welcome, interval: float, timeout: float) -> None:
    liveness = Liveness(options, server, 0)
    assert (liveness.interval, liveness.timeout) == (interval, timeout)

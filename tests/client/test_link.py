"""The facts about a connection: which state may follow which."""

from __future__ import annotations

import pytest

from iotio_client.link import Link, State
from iotio_protocol import v2


def test_version_until_both_sides_have_agreed() -> None:
    assert [Link(wanted).version for wanted in (None, 2, 1, 0)] == [2, 2, 1, 0]


def test_a_device_that_is_idle_or_has_ended_may_connect() -> None:
    link = Link(None)
    assert link.may(State.CONNECTING)
    for state in (State.CONNECTING, State.OPEN, State.WAITING, State.CONNECTING, State.ENDED, State.ENDED):
        link.move(state)
    assert link.may(State.CONNECTING)
    assert not link.may(State.OPEN)


def test_a_move_outside_the_table_changes_nothing() -> None:
    link = Link(1)
    with pytest.raises(RuntimeError, match="a client that is IDLE cannot become OPEN"):
        link.move(State.OPEN)
    assert link.state is State.IDLE


def test_a_time_of_a_wrong_clock_is_within_what_can_travel() -> None:
    link = Link(2)
    link.clock_offset = 1000
    assert link.on_the_servers_clock(5) == 1005
    assert link.on_the_servers_clock(v2.MAX_TIME) == v2.MAX_TIME
    link.clock_offset = -1000
    assert link.on_the_servers_clock(5) == 0

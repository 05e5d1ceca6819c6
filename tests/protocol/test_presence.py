"""The presence of one device, against its table and at its edges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from iotio_protocol.presence import Presence, PresenceReason, Tracker, Transition
from iotio_protocol.reasons import DisconnectReason

ONLINE, SLEEPING, LATE, OFFLINE = Presence.ONLINE, Presence.SLEEPING, Presence.LATE, Presence.OFFLINE
GONE = DisconnectReason.TRANSPORT_CLOSED
GRACE = 15.0


def online() -> Tracker:
    tracker = Tracker()
    assert tracker.connect() == Transition(OFFLINE, ONLINE, PresenceReason.CONNECTED)
    return tracker


def test_gone_for_its_grace_time() -> None:
    tracker = online()
    assert tracker.disconnect(GONE, 100.0, GRACE) is None
    assert tracker.disconnect(DisconnectReason.REMOVED, 101.0, GRACE) is None, "it is over only once"
    assert tracker.tick(114.9, GRACE) is None
    assert (tracker.presence, tracker.deadline) == (ONLINE, 115.0)
    assert tracker.tick(115.0, GRACE) == Transition(ONLINE, OFFLINE, GONE)
    assert tracker.tick(1000.0, GRACE) is None
    assert tracker.connect() == Transition(OFFLINE, ONLINE, PresenceReason.CONNECTED)


def test_back_within_its_grace_time_nobody_hears_of_it() -> None:
    tracker = online()
    tracker.disconnect(GONE, 100.0, GRACE)
    assert tracker.connect() is None
    assert tracker.tick(1000.0, GRACE) is None


@pytest.mark.parametrize("reason", [GONE, DisconnectReason.PING_TIMEOUT])
def test_no_grace_is_at_once(reason: DisconnectReason) -> None:
    assert online().disconnect(reason, 100.0, 0.0) == Transition(ONLINE, OFFLINE, reason)


def test_removed_is_at_once() -> None:
    removed = DisconnectReason.REMOVED
    assert online().disconnect(removed, 100.0, GRACE) == Transition(ONLINE, OFFLINE, removed)


def test_goodbye_is_at_once_when_it_goes() -> None:
    tracker = online()
    tracker.announce_sleep(200.0)
    tracker.announce_farewell()
    assert tracker.presence is ONLINE
    left = tracker.disconnect(DisconnectReason.CLIENT_CLOSE, 100.0, GRACE)
    assert left == Transition(ONLINE, OFFLINE, PresenceReason.GOODBYE)


def test_sleep() -> None:
    tracker = online()
    tracker.announce_sleep(160.0)
    assert tracker.disconnect(GONE, 100.0, GRACE) == Transition(ONLINE, SLEEPING, PresenceReason.SLEEP)
    assert tracker.tick(174.9, GRACE) is None
    assert tracker.tick(175.0, GRACE) == Transition(SLEEPING, LATE, PresenceReason.LATE)
    assert tracker.tick(189.9, GRACE) is None
    assert tracker.tick(190.0, GRACE) == Transition(LATE, OFFLINE, PresenceReason.LATE)


@pytest.mark.parametrize("now", [120.0, 180.0])
def test_back_from_sleep(now: float) -> None:
    tracker = online()
    tracker.announce_sleep(160.0)
    tracker.disconnect(GONE, 100.0, GRACE)
    tracker.tick(now, GRACE)
    before = tracker.presence
    assert tracker.connect() == Transition(before, ONLINE, PresenceReason.CONNECTED)
    assert tracker.disconnect(GONE, 200.0, GRACE) is None, "the announcement was for one time only"


def test_what_is_announced_is_taken_back() -> None:
    tracker = online()
    tracker.announce_sleep(160.0)
    tracker.announce_sleep(None)
    tracker.announce_farewell()
    tracker.connect()
    assert tracker.disconnect(GONE, 100.0, GRACE) is None
    tracker.announce_farewell()
    tracker.announce_sleep(160.0)
    assert tracker.tick(115.0, GRACE) == Transition(ONLINE, OFFLINE, GONE), "away, nothing can be announced"


def test_the_server_was_away() -> None:
    tracker = online()
    tracker.suspend()
    assert (tracker.presence, tracker.tick(1e9, GRACE)) == (ONLINE, None)
    tracker.wait(1000.0)
    assert tracker.tick(999.0, GRACE) is None
    assert tracker.tick(1000.0, GRACE) == Transition(ONLINE, OFFLINE, GONE)
    tracker.wait(2000.0)
    assert tracker.deadline == float("inf"), "of a device that is offline nothing is expected"
    asleep = online()
    asleep.announce_sleep(5000.0)
    asleep.disconnect(GONE, 0.0, GRACE)
    asleep.wait(100.0)
    assert asleep.deadline == 5000.0 + GRACE


class Model(RuleBasedStateMachine):
    """Whatever happens: each change begins where the one before ended, and none is told within the grace time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.tracker = Tracker()
        self.told = OFFLINE
        self.online_until = 0.0  # no sooner may it be called anything else, unless somebody said so
        self.said = False

    def take(self, change: Transition | None, *, at_once: bool = False) -> None:
        if change is None:
            return
        assert change.old is self.told
        assert change.new is not change.old
        if change.old is ONLINE and not at_once:
            assert self.now >= self.online_until
        self.told = change.new

    @rule()
    def connect(self) -> None:
        self.take(self.tracker.connect())
        self.online_until, self.said = float("inf"), False

    @precondition(lambda self: self.tracker.connected)
    @rule(seconds=st.floats(1, 100))
    def sleep(self, seconds: float) -> None:
        self.tracker.announce_sleep(self.now + seconds)
        self.said = True

    @precondition(lambda self: self.tracker.connected)
    @rule()
    def say_goodbye(self) -> None:
        self.tracker.announce_farewell()
        self.said = True

    @precondition(lambda self: self.tracker.connected)
    @rule(reason=st.sampled_from([GONE, DisconnectReason.REMOVED]))
    def disconnect(self, reason: DisconnectReason) -> None:
        self.online_until = self.now + GRACE
        at_once = self.said or reason is DisconnectReason.REMOVED
        self.take(self.tracker.disconnect(reason, self.now, GRACE), at_once=at_once)

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        while change := self.tracker.tick(self.now, GRACE):
            self.take(change)

    @rule()
    def end(self) -> None:
        self.take(self.tracker.end(PresenceReason.FORGOTTEN), at_once=True)

    @invariant()
    def what_was_told_is_true(self) -> None:
        assert self.tracker.presence is self.told
        assert self.told is ONLINE or not self.tracker.connected
        assert self.tracker.connected <= (self.tracker.deadline == float("inf"))


TestModel: Any = Model.TestCase
TestModel.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_an_announced_sleep_is_known_while_the_device_is_there() -> None:
    tracker = Tracker()
    said = [tracker.will_sleep]
    tracker.announce_sleep(160.0)
    said.append(tracker.will_sleep)
    tracker.connect()
    for until in (160.0, None):
        tracker.announce_sleep(until)
        said.append(tracker.will_sleep)
    assert said == [False, False, True, False]

"""The two halves of a stream, alone and together over a wire that breaks."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from iotio_protocol.errors import InvalidPacket, StreamGap
from iotio_protocol.stream import MAX_UNACKNOWLEDGED, Incoming, Outgoing


def sent(stream: Outgoing[str], most: int = MAX_UNACKNOWLEDGED) -> list[tuple[int, int, str]]:
    """All that is to be sent now, each with the number before it."""
    return list(iter(lambda: stream.next(most), None))


def stream_of(messages: str, name: str = "s") -> Outgoing[str]:
    """A stream that keeps these."""
    stream: Outgoing[str] = Outgoing(name)
    for message in messages:
        stream.add(message)
    return stream


def test_nothing_is_sent_before_the_connection_has_begun() -> None:
    stream = stream_of("ab")
    assert stream.next() is None
    stream.resume(None, 0)
    assert sent(stream) == [(0, 1, "a"), (1, 2, "b")]
    assert stream.next() is None


def test_acknowledged_messages_are_forgotten() -> None:
    stream = stream_of("abc")
    stream.resume(None, 0)
    sent(stream)
    assert stream.acknowledge(2) == [(1, "a"), (2, "b")]
    assert stream.acknowledge(2) == []
    assert list(stream) == [(3, "c")]
    assert len(stream) == 1


def test_an_acknowledgement_of_what_was_never_sent() -> None:
    stream = stream_of("abc")
    stream.resume(None, 0)
    stream.next()
    with pytest.raises(InvalidPacket, match="ACK of number 2, but the last one sent is 1"):
        stream.acknowledge(2)
    stream.suspend()
    with pytest.raises(InvalidPacket):
        stream.acknowledge(1)


def test_not_more_than_may_be_on_their_way() -> None:
    stream = stream_of("abcd")
    stream.resume(None, 0)
    assert sent(stream, 2) == [(0, 1, "a"), (1, 2, "b")]
    stream.acknowledge(1)
    assert sent(stream, 2) == [(2, 3, "c")]
    stream.drop(2)  # too old: it makes room as well
    assert sent(stream, 2) == [(3, 4, "d")]


def test_a_receiver_that_knows_the_stream() -> None:
    stream = stream_of("abc")
    assert stream.resume("s", 2) == [(1, "a"), (2, "b")]
    assert sent(stream) == [(2, 3, "c")]


def test_a_receiver_that_knows_another_stream_or_none() -> None:
    for name in ("t", None):
        stream = stream_of("ab")
        assert stream.resume(name, 2) == []
        assert sent(stream) == [(0, 1, "a"), (1, 2, "b")]


def test_a_receiver_that_knows_more_than_the_sender() -> None:
    """What the sender had given out before it lost its memory is not given again."""
    stream: Outgoing[str] = Outgoing("s", counter=3)
    stream.resume("s", 7)
    assert stream.add("x") == 8
    assert sent(stream) == [(7, 8, "x")]


def test_all_is_sent_again_on_the_next_connection() -> None:
    stream = stream_of("ab")
    stream.resume(None, 0)
    sent(stream)
    assert stream.was_sent(2)
    stream.suspend()
    assert not stream.was_sent(1)
    assert stream.next() is None
    stream.add("c")
    stream.resume(None, 0)
    assert sent(stream) == [(0, 1, "a"), (1, 2, "b"), (2, 3, "c")]


def test_dropped_messages_leave_gaps_that_the_next_one_tells_of() -> None:
    stream = stream_of("abcd")
    assert stream.drop(1) == "a"
    assert stream.drop(1) is None
    stream.resume(None, 0)
    stream.drop(3)
    assert sent(stream) == [(0, 2, "b"), (2, 4, "d")]


def test_messages_that_are_replaced_over_and_over_take_no_room() -> None:
    """As `coalesce` does while as many as may be are on their way."""
    stream = stream_of("a")
    stream.resume(None, 0)
    assert stream.next(1) == (0, 1, "a")
    for _ in range(1000):
        stream.drop(stream.add("b"))
    number = stream.add("c")
    assert len(stream._unsent) < 10
    stream.acknowledge(1)
    assert sent(stream, 1) == [(1, number, "c")]


def test_what_a_store_has_kept() -> None:
    stream: Outgoing[str] = Outgoing("s", counter=9)
    stream.restore(4, "a")
    stream.restore(7, "b")
    assert stream.add("c") == 10
    stream.resume("s", 4)
    assert sent(stream) == [(4, 7, "b"), (7, 10, "c")]


def test_a_long_queue_with_gaps_is_quick() -> None:
    """Once it took time with the square of its length: half a minute for these."""
    stream: Outgoing[int] = Outgoing("s")
    for number in range(1, 40_001):
        stream.add(number)
        if number % 2:
            stream.drop(number)
    stream.resume(None, 0)
    assert sum(1 for _ in iter(lambda: stream.next(1_000_000), None)) == 20_000


def test_a_receiver_takes_what_is_new() -> None:
    incoming = Incoming("s", 3)
    assert not incoming.is_new(3, 2)
    assert incoming.is_new(5, 3)
    incoming.took(5)
    incoming.took(4)
    assert incoming.last == 5


def test_what_was_dropped_once_it_was_sent_is_still_the_one_before() -> None:
    """It may have come or not: only the receiver knows. On the next connection it is nowhere."""
    stream = stream_of("abc")
    stream.resume(None, 0)
    stream.next()
    stream.next()
    stream.drop(2)
    assert stream.next() == (2, 3, "c")
    stream.resume("s", 1)
    assert stream.next() == (1, 3, "c")


def test_what_was_dropped_instead_of_sent_is_not_the_one_before() -> None:
    stream = stream_of("abc")
    stream.resume(None, 0)
    assert stream.next() == (0, 1, "a")
    assert stream.next() == (1, 2, "b")
    assert stream.drop_unsent(1, 2) == "b"
    assert not stream.was_sent(2)
    assert stream.on_their_way == 1
    with pytest.raises(InvalidPacket):
        stream.acknowledge(2)
    assert stream.next() == (1, 3, "c")


def test_a_receiver_notices_what_was_lost_on_the_way() -> None:
    incoming = Incoming("s", 3)
    with pytest.raises(StreamGap, match="after message 3 came 6, and before that there is 4"):
        incoming.is_new(6, 4)
    assert incoming.last == 3
    assert incoming.is_new(4, 3)


@pytest.mark.parametrize(("number", "previous"), [(4, 3), (9, 3), (9, 0), (9, 2)])
def test_what_never_comes_is_not_lost(number: int, previous: int) -> None:
    """A sender that was not told how far the receiver is begins before that."""
    assert Incoming("s", 3).is_new(number, previous)


@pytest.mark.parametrize(("number", "previous"), [(1, 0), (2, 1), (3, 2), (3, 0)])
def test_a_repetition_is_no_gap(number: int, previous: int) -> None:
    assert not Incoming("s", 3).is_new(number, previous)


def test_a_receiver_begins_anew_with_another_stream_only() -> None:
    incoming = Incoming("s", 3)
    incoming.resume("s")
    assert incoming.last == 3
    incoming.resume(None)  # it has none this time
    assert (incoming.stream, incoming.last) == ("s", 3)
    incoming.resume("t")
    assert (incoming.stream, incoming.last) == ("t", 0)


STEPS = ("send", "send", "send too late", "comes", "comes", "comes twice", "is lost")


class Wire(RuleBasedStateMachine):
    """A sender, a receiver, and a connection that loses all that is on its way when it is cut.

    It loses and repeats single messages as well, as a broken proxy or library does: a receiver that finds a gap ends
    the connection. What is lost with nothing behind it is noticed by nobody before the next connection.

    The sender keeps name, counter and messages over a restart, or nothing at all; the receiver keeps the name and the
    last number, or nothing at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: Iterator[int] = itertools.count()
        self.values: Iterator[int] = itertools.count()
        self.outgoing: Outgoing[int] = Outgoing(self.new_name())
        self.incoming = Incoming()
        self.there: deque[tuple[int, int, int]] = deque()  # messages on their way
        self.back: deque[int] = deque()  # acknowledgements on their way
        self.owed: list[int] = []  # acknowledgements that a busy receiver has not sent yet
        self.connected = False
        self.wire_lost = False  # something, on this connection
        self.most = 3
        self.took: list[int] = []  # since the receiver has lost its memory
        self.took_ever: set[int] = set()
        self.done: list[int] = []
        self.expired: set[int] = set()
        self.lost: set[int] = set()  # with the sender's memory

    def new_name(self) -> str:
        return f"s{next(self.names)}"

    @initialize(most=st.integers(1, 4), count=st.integers(0, 5))
    def begin(self, most: int, count: int) -> None:
        self.most = most
        self.add(count)
        self.connect()

    @rule(count=st.integers(1, 3))
    def add(self, count: int) -> None:
        for _ in range(count):
            self.outgoing.add(next(self.values))

    @precondition(lambda self: len(self.outgoing) > 0)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        """The sender gives a message up."""
        number, value = data.draw(st.sampled_from(list(self.outgoing)))
        assert self.outgoing.drop(number) == value
        self.expired.add(value)

    @precondition(lambda self: not self.connected)
    @rule(tells=st.booleans())
    def connect(self, tells: bool = True) -> None:
        """Both ends say what they know, as HELLO and WELCOME do; the receiver need not."""
        heard, upto = (self.incoming.stream, self.incoming.last) if tells else (None, 0)
        self.incoming.resume(self.outgoing.name)
        self.done += [value for _, value in self.outgoing.resume(heard, upto)]
        self.connected = True

    @precondition(lambda self: self.connected)
    @rule(
        steps=st.lists(st.sampled_from(STEPS), min_size=6, max_size=14),
        acknowledges=st.booleans(),
        returns=st.integers(0, 2),
    )
    def flow(self, steps: Sequence[str], acknowledges: bool, returns: int) -> None:
        """Some of it moves on; the rest is on its way."""
        for step in steps:
            if not self.connected:  # a gap has ended it
                break
            if step.startswith("send"):
                self.send(step)
            elif self.there:
                self.arrive(step)
        if acknowledges and self.owed:  # one for all that was handled or dropped since
            self.back.append(self.owed[-1])
            self.owed.clear()
        for _ in range(min(returns, len(self.back))):
            self.done += [value for _, value in self.outgoing.acknowledge(self.back.popleft())]

    def send(self, how: str) -> None:
        message = self.outgoing.next(self.most)
        if message is None:
            return
        if how == "send":
            self.there.append(message)
            return
        previous, number, value = message  # it turns out to be too old when its turn has come
        self.outgoing.drop_unsent(previous, number)
        self.expired.add(value)

    def arrive(self, fate: str) -> None:
        message = self.there.popleft()
        if fate == "is lost":
            self.wire_lost = True
            return
        if fate == "comes twice":
            self.there.appendleft(message)
        previous, number, value = message
        try:
            is_new = self.incoming.is_new(number, previous)
        except StreamGap:
            assert self.wire_lost, "a gap, but nothing was lost"
            self.cut()
            return
        if is_new:
            assert value not in self.took, "it took effect twice"
            self.took.append(value)
            self.took_ever.add(value)
            self.incoming.took(number)
        self.owed.append(number)

    @precondition(lambda self: len(self.there) > 0)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """One message comes a second time, some others behind it."""
        at = data.draw(st.integers(0, len(self.there) - 1))
        self.there.insert(data.draw(st.integers(at + 1, len(self.there))), self.there[at])

    @precondition(lambda self: len(self.back) > 0)
    @rule()
    def lose_acknowledgement(self) -> None:
        self.back.popleft()

    @precondition(lambda self: self.connected)
    @rule()
    def cut(self) -> None:
        self.outgoing.suspend()
        self.there.clear()
        self.back.clear()
        self.owed.clear()
        self.connected = self.wire_lost = False

    @rule(remembers=st.booleans())
    def restart_receiver(self, remembers: bool) -> None:
        if self.connected:
            self.cut()
        if remembers:
            self.incoming = Incoming(self.incoming.stream, self.incoming.last)
        else:
            self.incoming = Incoming()
            self.took.clear()

    @rule(remembers=st.booleans())
    def restart_sender(self, remembers: bool) -> None:
        if self.connected:
            self.cut()
        before = self.outgoing
        if remembers:
            self.outgoing = Outgoing(before.name, before.counter)
            for number, value in before:
                self.outgoing.restore(number, value)
        else:
            self.lost |= {value for _, value in before}
            self.outgoing = Outgoing(self.new_name())

    @invariant()
    def in_order(self) -> None:
        assert self.took == sorted(self.took)

    @invariant()
    def done_is_done(self) -> None:
        assert set(self.done) <= self.took_ever
        assert len(self.done) == len(set(self.done))

    @invariant()
    def no_more_than_may_be(self) -> None:
        kept = dict(self.outgoing)
        assert sum(1 for number in kept if self.outgoing.was_sent(number)) <= self.most

    def teardown(self) -> None:
        """Over a new connection that holds, all arrives that was neither given up nor lost with its sender."""
        if self.connected:
            self.cut()
        self.connect()
        while len(self.outgoing):
            before = len(self.outgoing)
            self.flow(["send", "comes"] * self.most, acknowledges=True, returns=10)
            assert len(self.outgoing) < before
        self.in_order()
        self.done_is_done()
        assert set(range(next(self.values))) == self.took_ever | self.expired | self.lost


TestWire = Wire.TestCase
TestWire.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)

"""The twin of an endpoint: each row of its table, the page that shows it, and a model in any order of events."""

from __future__ import annotations

from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from iotio_protocol.twin import EXPIRED, NO_HANDLER, ROWS, WORDS, Cause, Does, Guard, Row, Status, Twin, same

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "state.md"


def table() -> str:
    """The rows of the code as the page has them."""
    lines = ["| what happens | from | only | to | and |", "| --- | --- | --- | --- | --- |"]
    for row in ROWS:
        source = "any" if set(row.source) == set(Status) else ", ".join(row.source)
        does = "; ".join(words for does, words in WORDS.items() if does in row.does)
        lines.append(f"| {row.cause.value} | {source} | {row.guard.value} | {row.target} | {does} |")
    return "\n".join(lines) + "\n"


def test_page_shows_the_table() -> None:
    """If it fails, put what `table` says behind the mark on the page."""
    assert f"<!-- states of an endpoint -->\n\n{table()}\n" in PAGE.read_text(encoding="utf-8")


def set_twin(value: Any = 21, *, on_way: bool = True) -> Twin:
    twin = Twin()
    twin.set(value, 1.0, "program")
    if on_way:
        assert twin.take() == value
    return twin


def test_unknown_until_something_is_said() -> None:
    twin = Twin()
    assert (twin.status, twin.reported_at, twin.desired_at, twin.waits) == (Status.UNKNOWN, None, None, False)
    twin.report(5, 2.0)
    assert (twin.status, twin.reported, twin.reported_at) == (Status.CONFIRMED, 5, 2.0)


def test_set_and_result() -> None:
    twin = set_twin()
    assert (twin.status, twin.on_way, twin.version, twin.desired_by) == (Status.PENDING, 1, 1, "program")
    twin.confirm(1, None, 2.0)
    assert (twin.status, twin.reported, twin.reported_at, twin.desired, twin.on_way) == (
        Status.CONFIRMED,
        21,
        2.0,
        21,
        0,
    )


def test_result_of_another_value_is_what_is_in_force() -> None:
    twin = set_twin(99)
    twin.confirm(1, 30, 2.0)
    assert (twin.status, twin.reported, twin.desired) == (Status.CONFIRMED, 30, 30)


def test_newest_waits_behind_the_one_on_its_way() -> None:
    twin = set_twin(1)
    twin.set(2, 2.0)
    twin.set(3, 3.0)
    twin.report(3, 3.5)  # the first one is still to be done
    assert (twin.status, twin.reported) == (Status.PENDING, 3)
    twin.confirm(1, None, 4.0)
    assert (twin.status, twin.reported, twin.desired) == (Status.PENDING, 1, 3)
    assert twin.waits
    assert twin.take() == 3
    twin.confirm(3, None, 5.0)
    assert (twin.status, twin.reported) == (Status.CONFIRMED, 3)


def test_refused() -> None:
    twin = set_twin()
    twin.reject(1, "too hot")
    assert (twin.status, twin.reason, twin.desired, twin.waits) == (Status.REJECTED, "too hot", 21, False)
    twin.report(20, 2.0)
    assert (twin.status, twin.reason, twin.reported) == (Status.REJECTED, "too hot", 20)
    twin.set(19, 3.0)
    assert (twin.status, twin.reason) == (Status.PENDING, "")


def test_no_handler() -> None:
    twin = set_twin()
    twin.reject(1, NO_HANDLER, no_handler=True)
    assert (twin.status, twin.reason) == (Status.REJECTED, NO_HANDLER)


def test_answer_to_nothing_says_nothing() -> None:
    twin = set_twin(on_way=False)
    for answer in (partial(twin.confirm, 1, 5, 2.0), partial(twin.reject, 1, "no"), partial(twin.was_read, 1)):
        answer()
        assert (twin.status, twin.reported_at, twin.reason) == (Status.PENDING, None, "")


def test_report_while_pending() -> None:
    twin = set_twin()
    twin.report(3, 2.0)  # a slider passes by
    assert (twin.status, twin.reported, twin.desired) == (Status.PENDING, 3, 21)
    twin.report(21, 3.0)
    assert (twin.status, twin.reported) == (Status.CONFIRMED, 21)
    twin.confirm(1, None, 4.0)
    assert twin.status is Status.CONFIRMED


def test_device_moves_by_itself() -> None:
    twin = set_twin()
    twin.confirm(1, None, 2.0)
    twin.report(25, 3.0)
    assert (twin.status, twin.reported, twin.desired, twin.desired_at) == (Status.CONFIRMED, 25, None, None)


def test_held_value_is_set_again() -> None:
    twin = set_twin()
    twin.confirm(1, None, 2.0)
    twin.report(25, 3.0, hold=True)
    assert (twin.status, twin.reported, twin.desired, twin.version, twin.waits) == (Status.PENDING, 25, 21, 1, True)


def test_pong_of_a_silent_device() -> None:
    twin = set_twin()
    twin.was_read(1)
    assert (twin.status, twin.reported_at, twin.desired) == (Status.ASSUMED, None, 21)
    twin.report(21, 2.0, echo=True)  # nothing is pending: its own word
    assert (twin.status, twin.reported) == (Status.CONFIRMED, 21)


def test_echo_of_the_value_is_no_word_of_the_device() -> None:
    twin = set_twin()
    twin.report(21, 2.0, echo=True)
    assert (twin.status, twin.reported_at, twin.on_way) == (Status.ASSUMED, None, 1)
    twin.was_read(1)
    assert (twin.status, twin.on_way) == (Status.ASSUMED, 0)


def test_pong_behind_another_value() -> None:
    twin = set_twin(99)
    twin.report(30, 2.0, echo=True)
    twin.was_read(1)
    assert (twin.status, twin.reported, twin.desired_at) == (Status.CONFIRMED, 30, None)


def test_cut_and_back() -> None:
    twin = set_twin()
    twin.disconnect()
    assert (twin.status, twin.waits) == (Status.PENDING, True)
    twin.connect()
    assert twin.take() == 21


@pytest.mark.parametrize(("said", "waits"), [(False, True), (True, False)])
def test_hold_at_connect(said: bool, waits: bool) -> None:
    twin = set_twin()
    twin.was_read(1)
    twin.disconnect()
    twin.connect(hold=True, said=said)
    assert twin.waits is waits
    assert twin.desired == 21


def test_without_hold_nothing_is_sent_again() -> None:
    twin = set_twin()
    twin.was_read(1)
    twin.disconnect()
    twin.connect()
    assert (twin.status, twin.waits) == (Status.ASSUMED, False)


def test_expired() -> None:
    twin = Twin()
    twin.set(21, 1.0, expires=5.0)
    twin.expire()
    assert (twin.status, twin.reason, twin.expires, twin.waits) == (Status.REJECTED, EXPIRED, None, False)


def test_late_answer_counts() -> None:
    twin = set_twin()
    twin.expire()
    twin.confirm(1, None, 9.0)
    assert (twin.status, twin.reported, twin.reason) == (Status.CONFIRMED, 21, "")


def test_withdrawn() -> None:
    twin = set_twin(on_way=False)
    twin.unset()
    assert (twin.status, twin.desired_at, twin.version, twin.waits) == (Status.UNKNOWN, None, 2, False)


def test_withdrawn_on_its_way() -> None:
    twin = set_twin()
    twin.unset()
    twin.confirm(1, None, 2.0)
    assert (twin.status, twin.reported, twin.desired_at) == (Status.CONFIRMED, 21, None)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [(1, 1.0, True), (1, True, False), (0, False, False), ("a", "a", True), (True, True, True)],
)
def test_same(one: Any, other: Any, equal: bool) -> None:
    assert same(one, other) is equal


VERSIONS = {Guard.LAST: 2, Guard.SPOKEN: 2, Guard.EARLIER: 1, Guard.WITHDRAWN: 1}
DESIRING = {Guard.LAST, Guard.SPOKEN, Guard.EARLIER, Guard.EQUAL, Guard.OTHER, Guard.OTHER_HELD, Guard.HELD}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.cause.name}-{row.guard.name}-{row.target}")
def test_each_row_counts(row: Row) -> None:
    """Where a row fits, it is the first that does, and what it says comes true."""
    for source in row.source:
        twin = Twin()
        twin.status, twin.version = source, 2
        twin._spoken = row.guard is Guard.SPOKEN
        if row.guard in DESIRING:
            twin.desired, twin.desired_at = 1, 1.0
        twin._happen(
            row.cause,
            1 if row.guard is Guard.EQUAL else 2,
            5.0,
            version=VERSIONS.get(row.guard, 0),
            hold=row.guard in (Guard.HELD, Guard.OTHER_HELD),
            why="why",
        )
        unset = row.cause is Cause.UNSET  # nothing was ever reported here
        assert twin.status is (Status.UNKNOWN if unset else row.target)
        assert (twin.reported_at == 5.0) is (Does.REPORT in row.does)
        assert (twin.reason == "why") is (Does.REASON in row.does)
        if row.does & (Does.CLEAR | Does.WITHDRAW):
            assert twin.desired_at is None
        elif row.does & Does.DESIRE:
            assert (twin.desired, twin.desired_at, twin.version) == (2, 5.0, 3)


VALUES = st.integers(0, 3)
DEFAULT = 0


class Model(RuleBasedStateMachine):
    """A device that does what it is told in order, whose wire is cut at will, and whose knob people turn."""

    generation = 2
    hold = False

    def __init__(self) -> None:
        super().__init__()
        self.twin = Twin()
        self.now = 1.0
        self.online = False
        self.value = DEFAULT
        self.to_device: deque[tuple[int, Any]] = deque()
        self.to_server: deque[tuple[str, int, Any]] = deque()
        self.applied: list[int] = []
        self.spoke = False  # the server knows the device's value, or will once `to_server` is empty

    def pump(self) -> None:
        if self.online and self.twin.waits:
            assert not any(version == self.twin.on_way for version, _ in self.to_device)
            self.to_device.append((self.twin.version, self.twin.take()))

    @rule(value=VALUES)
    def set(self, value: int) -> None:
        self.twin.set(value, self.now)
        self.pump()

    @rule()
    def unset(self) -> None:
        self.twin.unset()
        self.pump()

    @rule()
    def expire(self) -> None:
        self.twin.expire()

    @precondition(lambda self: self.to_device)
    @rule(does=st.sampled_from(["obey", "clamp", "refuse", "no_handler"]))
    def handle(self, does: str) -> None:
        version, value = self.to_device.popleft()
        if does in ("obey", "clamp"):
            self.value = value if does == "obey" else min(value, 2)
            self.applied.append(version)
        if self.generation == 2:
            self.spoke = self.spoke or does in ("obey", "clamp")
            answer = {"obey": ("result", None), "clamp": ("result", self.value), "refuse": ("failure", "no")}
            kind, what = answer.get(does, ("no_handler", None))
            self.to_server.append((kind, version, what))
        else:
            if does == "clamp":
                self.say("echo")
            elif does == "refuse":
                self.to_server.append(("echo", 0, value))  # 0.4.12: the value that it got, whatever became of it
                self.spoke = False
            self.to_server.append(("pong", version, None))

    def say(self, kind: str) -> None:
        self.to_server.append((kind, 0, self.value))
        self.spoke = True

    @rule(value=VALUES, tells=st.booleans())
    def turn_the_knob(self, value: int, tells: bool) -> None:
        self.value = value
        self.spoke = False
        if self.online and tells:
            self.say("report" if self.generation == 2 or value % 2 else "echo")

    @precondition(lambda self: self.to_server)
    @rule()
    def receive(self) -> None:
        kind, version, what = self.to_server.popleft()
        if kind == "result":
            self.twin.confirm(version, what, self.now)
        elif kind == "failure":
            self.twin.reject(version, what)
        elif kind == "no_handler":
            self.twin.reject(version, NO_HANDLER, no_handler=True)
        elif kind == "pong":
            self.twin.was_read(version)
        else:
            self.twin.report(what, self.now, echo=kind == "echo", hold=self.hold)
        self.pump()

    @rule(reboots=st.booleans())
    def cut(self, reboots: bool) -> None:
        if self.online:
            self.online = False
            self.to_device.clear()
            self.to_server.clear()
            self.spoke = False
            self.twin.disconnect()
        if reboots:
            self.value = DEFAULT
            self.spoke = False

    @precondition(lambda self: not self.online)
    @rule(tells=st.booleans())
    def connect(self, tells: bool) -> None:
        self.online = True
        if tells:
            self.twin.report(self.value, self.now, hold=self.hold)
            self.spoke = True
        self.twin.connect(hold=self.hold, said=tells)
        held = self.hold and self.twin.desired_at is not None and self.twin.status is not Status.REJECTED
        if held and not (tells and same(self.value, self.twin.desired)):
            assert self.twin.waits
        self.pump()

    @invariant()
    def one_on_its_way(self) -> None:
        assert len(self.to_device) <= 1
        assert self.twin.waits is False or not self.online
        assert self.twin.on_way <= self.twin.version

    @invariant()
    def never_an_older_one_behind_a_later(self) -> None:
        assert self.applied == sorted(self.applied)

    @invariant()
    def words_are_true(self) -> None:
        twin = self.twin
        assert (twin.status is Status.REJECTED) == bool(twin.reason)
        assert twin.status in (Status.UNKNOWN, Status.CONFIRMED) or twin.desired_at is not None
        assert twin.status is not Status.UNKNOWN or (twin.reported_at is None and twin.desired_at is None)
        if self.online and not self.to_device and not self.to_server:
            assert twin.status is not Status.PENDING
            if self.spoke and self.generation == 2:
                assert twin.reported == self.value
            if twin.status is Status.CONFIRMED and twin.desired_at is not None:
                assert same(twin.desired, twin.reported)

    def teardown(self) -> None:
        """In the end everything arrives."""
        if not self.online:
            self.connect(tells=True)
        for _ in range(20):
            while self.to_device:
                self.handle("obey")
            while self.to_server:
                self.receive()
        self.words_are_true()
        if self.hold and self.generation == 2 and self.twin.desired_at is not None and self.spoke:
            assert self.twin.status is Status.REJECTED or self.value == self.twin.desired


class HoldModel(Model):
    """With `hold`."""

    hold = True


class OldModel(Model):
    """A device of v0 or v1."""

    generation = 1


class OldHoldModel(OldModel):
    """The same with `hold`."""

    hold = True


_SETTINGS = settings(max_examples=30, stateful_step_count=25, deadline=None)
for _model in (Model, HoldModel, OldModel, OldHoldModel):
    _model.TestCase.settings = _SETTINGS
TestModel, TestHoldModel = Model.TestCase, HoldModel.TestCase
TestOldModel, TestOldHoldModel = OldModel.TestCase, OldHoldModel.TestCase

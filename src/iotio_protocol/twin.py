"""The twin of an endpoint: what the device says that it is, what it should be, and whether both are the same.

All that can happen to one is a row of `ROWS`; of the rows that fit, the first one counts, and where none fits nothing
happens. docs/explanation/state.md shows the table. No clock and no connection: times and words are arguments.

What is desired has a version, which grows with each set. One set of an endpoint is on its way at a time, the newest
waits behind it. An answer is of a version, and says nothing of another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, Flag, StrEnum, auto

from .values import Value

__all__ = ["EXPIRED", "NO_HANDLER", "ROWS", "WORDS", "Cause", "Does", "Guard", "Row", "State", "Status", "Twin", "same"]

NO_HANDLER = "the device has no handler"
"""Why a set is rejected whose event no handler of the device takes."""

EXPIRED = "expired"
"""Why a set is rejected whose time to live is over."""


class Status(StrEnum):
    """What is known of an endpoint; docs/explanation/state.md tells what leads from one to another."""

    UNKNOWN = "unknown"  # nothing was ever reported or set
    CONFIRMED = "confirmed"  # the device has said so, and nothing is outstanding
    PENDING = "pending"  # a set is outstanding; `State.reason` says what for
    ASSUMED = "assumed"  # the device has read the set, and has no word for having done it (v0, v1)
    REJECTED = "rejected"  # the device refused the set, or its time was over; `State.reason` says why


@dataclass(frozen=True, slots=True)
class State:
    """What an endpoint is and what it should be, at one moment.

    Attributes:
        endpoint: its id.
        reported: what the device said last, None before it has said anything.
        reported_at: when that was, by the device's own word if it gave a time; in UTC. None: never.
        desired: what was set.
        desired_at: when that was, in UTC. None: nothing is desired.
        desired_by: who set it, such as "program" or "api:anna".
        version: grows with each set; `set(..., if_version=)` compares it.
        status: what is known.
        reason: of REJECTED, what the device said, or "expired"; of PENDING, what it waits for; else "".
        stale: whether the device is not online, or `reported_at` is longer ago than `max_age` of its type.
        out_of_range: whether `reported` is outside of what the endpoint declares: the sensor is right, its declaration
            is not.
    """

    endpoint: str
    reported: Value = None
    reported_at: datetime | None = None
    desired: Value = None
    desired_at: datetime | None = None
    desired_by: str = ""
    version: int = 0
    status: Status = Status.UNKNOWN
    reason: str = ""
    stale: bool = False
    out_of_range: bool = False


class Cause(Enum):
    """What can happen to a twin. The text is that of the table."""

    SET = "set"
    UNSET = "unset"
    RESULT = "RESULT of the device, with the value in force (v2)"
    FAILURE = "FAILURE of the device (v2)"
    NO_HANDLER = "FAILURE `no_handler` (v2)"
    REPORT = "report: an event of v2, `$report`, `$readings`, `state` in HELLO, `device.report`"
    ECHO = "event of v0 or v1 with the endpoint's name"
    PONG = "pong behind the set (v0, v1)"
    CONNECT = "connection begins, behind the reports of HELLO"
    DISCONNECT = "connection ends"
    EXPIRE = "`ttl` is over"


class Guard(Enum):
    """What else must be so for a row to count. The text is that of the table."""

    ALWAYS = ""
    LAST = "it answers the last set"
    EARLIER = "it answers an earlier set"
    WITHDRAWN = "nothing is desired any more"
    EQUAL = "with the desired value, and no earlier set is on its way"
    OTHER = "with another value than the desired one"
    OTHER_HELD = "with another value than the desired one, `hold`"
    HELD = "a value is desired that HELLO has not reported, `hold`"
    SPOKEN = "it answers the last set, and another value has been reported since that was sent"


class Does(Flag):
    """What a row changes beside the status."""

    NOTHING = 0
    DESIRE = auto()
    WITHDRAW = auto()
    REPORT = auto()
    ADOPT = auto()
    CLEAR = auto()
    REASON = auto()
    SPEAK = auto()


WORDS: dict[Does, str] = {
    Does.DESIRE: "desired is the value, under a new version; it is sent when the device is there",
    Does.WITHDRAW: "nothing is desired any more, under a new version",
    Does.REPORT: "reported is the value",
    Does.ADOPT: "desired is the value, too",
    Does.CLEAR: "nothing is desired any more",
    Does.REASON: "the reason says why",
    Does.SPEAK: "that is noted for the pong",
}
"""What each of them is in the table."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes:
        cause: what happens.
        source: the statuses that it fits.
        guard: what else must be so.
        target: the status behind it.
        does: what else is changed.
    """

    cause: Cause
    source: tuple[Status, ...]
    guard: Guard
    target: Status
    does: Does = Does.NOTHING


_UNKNOWN, _CONFIRMED, _PENDING, _ASSUMED, _REJECTED = (
    Status.UNKNOWN,
    Status.CONFIRMED,
    Status.PENDING,
    Status.ASSUMED,
    Status.REJECTED,
)
_ANY = tuple(Status)
_SETTLED = (_UNKNOWN, _CONFIRMED, _ASSUMED)

ROWS: tuple[Row, ...] = (
    Row(Cause.SET, _ANY, Guard.ALWAYS, _PENDING, Does.DESIRE),
    Row(Cause.UNSET, _ANY, Guard.ALWAYS, _CONFIRMED, Does.WITHDRAW),
    Row(Cause.RESULT, _ANY, Guard.LAST, _CONFIRMED, Does.REPORT | Does.ADOPT),
    Row(Cause.RESULT, _ANY, Guard.WITHDRAWN, _CONFIRMED, Does.REPORT),
    Row(Cause.RESULT, (_PENDING,), Guard.EARLIER, _PENDING, Does.REPORT),
    Row(Cause.RESULT, (_REJECTED,), Guard.EARLIER, _REJECTED, Does.REPORT),
    Row(Cause.FAILURE, (_PENDING,), Guard.LAST, _REJECTED, Does.REASON),
    Row(Cause.NO_HANDLER, (_PENDING,), Guard.LAST, _REJECTED, Does.REASON),
    Row(Cause.REPORT, (_PENDING,), Guard.EQUAL, _CONFIRMED, Does.REPORT),
    Row(Cause.REPORT, (_PENDING,), Guard.ALWAYS, _PENDING, Does.REPORT | Does.SPEAK),
    Row(Cause.REPORT, _SETTLED, Guard.OTHER_HELD, _PENDING, Does.REPORT),
    Row(Cause.REPORT, _SETTLED, Guard.OTHER, _CONFIRMED, Does.REPORT | Does.CLEAR),
    Row(Cause.REPORT, _SETTLED, Guard.ALWAYS, _CONFIRMED, Does.REPORT),
    Row(Cause.REPORT, (_REJECTED,), Guard.ALWAYS, _REJECTED, Does.REPORT),
    Row(Cause.ECHO, (_PENDING,), Guard.EQUAL, _ASSUMED),
    Row(Cause.ECHO, (_PENDING,), Guard.ALWAYS, _PENDING, Does.REPORT | Does.SPEAK),
    Row(Cause.ECHO, _SETTLED, Guard.OTHER_HELD, _PENDING, Does.REPORT),
    Row(Cause.ECHO, _SETTLED, Guard.OTHER, _CONFIRMED, Does.REPORT | Does.CLEAR),
    Row(Cause.ECHO, _SETTLED, Guard.ALWAYS, _CONFIRMED, Does.REPORT),
    Row(Cause.ECHO, (_REJECTED,), Guard.ALWAYS, _REJECTED, Does.REPORT),
    Row(Cause.PONG, (_PENDING,), Guard.SPOKEN, _CONFIRMED, Does.CLEAR),
    Row(Cause.PONG, (_PENDING,), Guard.LAST, _ASSUMED),
    Row(Cause.CONNECT, (_CONFIRMED, _ASSUMED), Guard.HELD, _PENDING),
    Row(Cause.DISCONNECT, (_PENDING,), Guard.ALWAYS, _PENDING),
    Row(Cause.EXPIRE, (_PENDING,), Guard.ALWAYS, _REJECTED, Does.REASON),
)
"""What can happen to a twin, and what it does."""


class Twin:
    """The twin of one endpoint. Not thread-safe; the owner locks.

    Attributes:
        reported: what the device said last.
        reported_at: when, in seconds since 1970; None: never.
        desired: what was set; it counts while `desired_at` is not None.
        desired_at: when, in seconds since 1970; None: nothing is desired.
        desired_by: who set it.
        version: grows with each set.
        status: what is known.
        reason: why it is REJECTED, else "".
        expires: when a set that is PENDING is of no use any more, in seconds since 1970, or None.
        on_way: the version of the set that is on its way to the device over the present connection, 0 for none.
        size: the owner's own; 0 at first.
    """

    __slots__ = (
        "_sent",
        "_spoken",
        "desired",
        "desired_at",
        "desired_by",
        "expires",
        "on_way",
        "reason",
        "reported",
        "reported_at",
        "size",
        "status",
        "version",
    )

    def __init__(self) -> None:
        self.reported: Value = None
        self.reported_at: float | None = None
        self.desired: Value = None
        self.desired_at: float | None = None
        self.desired_by = ""
        self.version = 0
        self.status = Status.UNKNOWN
        self.reason = ""
        self.expires: float | None = None
        self.on_way = 0
        self.size = 0
        self._sent: Value = None  # the value that is on its way, or was last
        self._spoken = False  # another value was reported since then

    @property
    def waits(self) -> bool:
        """Whether a set is to be sent, as soon as the device is there."""
        return self.status is Status.PENDING and not self.on_way

    def take(self) -> Value:
        """Return what is to be sent, which is on its way from now on."""
        self.on_way = self.version
        self._sent = self.desired
        self._spoken = False
        return self.desired

    def set(self, value: Value, now: float, by: str = "", expires: float | None = None) -> None:
        """Note that a value is desired.

        Args:
            value: which.
            now: the time, in seconds since 1970.
            by: who desires it.
            expires: until when it is of use, in seconds since 1970, or None.
        """
        self._happen(Cause.SET, value, now)
        self.desired_by = by
        self.expires = expires

    def unset(self) -> None:
        """Note that nothing is desired any more."""
        self._happen(Cause.UNSET)

    def report(self, value: Value, now: float, *, echo: bool = False, hold: bool = False) -> bool:
        """Note what the device says that the endpoint is.

        Args:
            value: which.
            now: the time of the report, in seconds since 1970.
            echo: whether it is an event of v0 or v1, whose library sends back what it got, whatever became of it.
            hold: whether what is desired is set again when the device has another value.

        Returns:
            Whether that is the device's word: not of an echo of what was set.
        """
        return self._happen(Cause.ECHO if echo else Cause.REPORT, value, now, hold=hold)

    def confirm(self, version: int, value: Value, now: float) -> None:
        """Note that the device has done a set. `value` is what is in force then; None: what was sent."""
        if self._free_way(version):
            self._happen(Cause.RESULT, self._sent if value is None else value, now, version=version)

    def reject(self, version: int, why: str, *, no_handler: bool = False) -> None:
        """Note that the device has refused a set, for a reason in words."""
        if self._free_way(version):
            self._happen(Cause.NO_HANDLER if no_handler else Cause.FAILURE, version=version, why=why)

    def was_read(self, version: int) -> None:
        """Note that the device has read a set, by its answer to a ping behind it."""
        if self._free_way(version):
            self._happen(Cause.PONG, version=version)

    def connect(self, *, hold: bool = False, said: bool = False) -> None:
        """Note that the device is there.

        Args:
            hold: whether what is desired is set again although it was confirmed.
            said: whether the device has reported this endpoint with its HELLO.
        """
        self.on_way = 0
        self._happen(Cause.CONNECT, hold=hold and not said)

    def disconnect(self) -> None:
        """Note that the device is away: what was on its way may be lost."""
        self.on_way = 0
        self._happen(Cause.DISCONNECT)

    def expire(self) -> None:
        """Note that the time of what is desired is over."""
        self._happen(Cause.EXPIRE, why=EXPIRED)

    def undo(self, before: Twin) -> None:
        """Take the last set back, which could not be stored. What was reported since stays.

        Args:
            before: a copy of the twin as it was before that set.
        """
        self.desired, self.desired_at, self.desired_by = before.desired, before.desired_at, before.desired_by
        self.version, self.status, self.reason = before.version, before.status, before.reason
        self.expires = before.expires
        if self.status is _UNKNOWN and self.reported_at is not None:
            self.status = _CONFIRMED

    # -- inside ----------------------------------------------------------------------------------------

    def _free_way(self, version: int) -> bool:
        """Take what is on its way as answered. Returns False for the answer to anything else, which says nothing."""
        if not version or version != self.on_way:
            return False
        self.on_way = 0
        return True

    def _happen(
        self,
        cause: Cause,
        value: Value = None,
        now: float = 0.0,
        *,
        version: int = 0,
        hold: bool = False,
        why: str = "",
    ) -> bool:
        """Find the row that counts, and do what it says. Returns whether something is reported."""
        for row in _BY_CAUSE[cause]:
            if self.status in row.source and _HOLDS[row.guard](self, value, version, hold):
                self._become(row, value, now, why)
                return Does.REPORT in row.does
        return False

    def _become(self, row: Row, value: Value, now: float, why: str) -> None:
        does = row.does
        self.status = row.target
        self.reason = why if does & Does.REASON else self.reason if row.target is _REJECTED else ""
        if does & Does.REPORT:
            self.reported, self.reported_at = value, now
        if does & Does.SPEAK:
            self._spoken = True
        if does & Does.ADOPT:
            self.desired = value
        if does & (Does.CLEAR | Does.WITHDRAW):
            self.desired, self.desired_at, self.desired_by = None, None, ""
        if does & Does.DESIRE:
            self.desired, self.desired_at = value, now
        if does & (Does.DESIRE | Does.WITHDRAW):
            self.version += 1
        if does & Does.WITHDRAW and self.reported_at is None:
            self.status = _UNKNOWN
        if self.status is not _PENDING:
            self.expires = None


def same(one: Value, other: Value) -> bool:
    """Compare two values of endpoints: 1 and 1.0 are one number, and True is none."""
    return one == other and isinstance(one, bool) is isinstance(other, bool)


def _is_desired(twin: Twin, value: Value) -> bool:
    """Return whether the last set is done: one that is on its way before it would change the value once more."""
    return twin.desired_at is not None and twin.on_way in (0, twin.version) and same(value, twin.desired)


def _is_other(twin: Twin, value: Value) -> bool:
    return twin.desired_at is not None and not same(value, twin.desired)


def _is_last(twin: Twin, version: int) -> bool:
    return version == twin.version and twin.desired_at is not None


_HOLDS: dict[Guard, Callable[[Twin, Value, int, bool], bool]] = {
    Guard.ALWAYS: lambda twin, value, version, hold: True,
    Guard.LAST: lambda twin, value, version, hold: _is_last(twin, version),
    Guard.EARLIER: lambda twin, value, version, hold: version < twin.version and twin.desired_at is not None,
    Guard.WITHDRAWN: lambda twin, value, version, hold: twin.desired_at is None,
    Guard.EQUAL: lambda twin, value, version, hold: _is_desired(twin, value),
    Guard.OTHER: lambda twin, value, version, hold: _is_other(twin, value),
    Guard.OTHER_HELD: lambda twin, value, version, hold: hold and _is_other(twin, value),
    Guard.HELD: lambda twin, value, version, hold: hold and twin.desired_at is not None,
    Guard.SPOKEN: lambda twin, value, version, hold: twin._spoken and _is_last(twin, version),
}

_BY_CAUSE = {cause: tuple(row for row in ROWS if row.cause is cause) for cause in Cause}

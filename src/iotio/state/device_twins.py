"""The twins of one device: what changes them, what is sent, and what is to be written.

The lock of the twins is never held while a connection, the registry or user code is called. A connection may hold its
own lock when it calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from iotio.core.handles import DeviceHandle
from iotio.core.ports import TwinLink, TypeOptions
from iotio.core.primitives import Signal, allocate_lock
from iotio.core.probe import probe
from iotio.core.results import SetResult
from iotio.core.storage.contract import DropTwins, PutTwin, StoreUnavailable
from iotio.core.storage.records import TwinRecord, read_json, write_json
from iotio.core.storage.writer import StoreWriter, Ticket
from iotio_protocol.endpoints import ValidationResponse
from iotio_protocol.errors import (
    CallDisconnected,
    CallError,
    EncodeError,
    InvalidData,
    NoHandler,
    RemoteError,
    TooManyCalls,
    UnknownEndpoint,
    VersionConflict,
)
from iotio_protocol.presence import Presence
from iotio_protocol.session import WasRead
from iotio_protocol.twin import NO_HANDLER, State, Status, Twin
from iotio_protocol.values import Value

from .notifier import Change

__all__ = ["MOST_ON_WAY", "DeviceTwins", "Owner"]

MOST_ON_WAY = 16
"""Sets of one device that are on their way at a time: its handlers and its memory are small."""

_HOLD_PAUSE = 1.0  # seconds between two sets of a held endpoint whose device always goes back to another value
_RETRY = 0.5  # seconds until a set is tried again that the connection did not take
_SIZE = 200  # bytes that a twin counts for, beside its texts
_DEFAULT_TIMEOUT = 5.0  # seconds, where the device's type is not known


class Owner(Protocol):
    """The twins of all devices.

    Attributes:
        writer: writes to the store; None without one.
    """

    writer: StoreWriter | None

    def clock(self) -> float: ...
    def wall(self) -> float: ...
    def type_of(self, device: DeviceHandle) -> TypeOptions | None: ...
    def wait_here(self, signal: Signal, timeout: float | None) -> bool: ...
    def is_observed(self, device: DeviceHandle) -> bool: ...
    def tell(self, device: DeviceHandle, changes: list[Change]) -> None: ...
    def write_later(self, twins: DeviceTwins) -> None: ...
    def pump_later(self, twins: DeviceTwins) -> None: ...
    def expire_later(self, twins: DeviceTwins, due: float) -> None: ...
    def resized(self, device: DeviceHandle) -> None: ...
    def record_reading(self, device: DeviceHandle, endpoint_id: str, value: Value, time: float) -> None: ...


class _Turn:
    """What one change of twins asks for once the lock is free."""

    __slots__ = ("changes", "marks", "reported", "signals")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.marks: set[str] = set()  # twins that are to be written soon
        self.reported = False  # something that can be written later
        self.signals: list[Signal] = []


class _Write:
    """Sets that are being written."""

    __slots__ = ("befores", "expires", "olds", "result")

    def __init__(
        self, befores: dict[str, Twin], olds: dict[str, State], result: SetResult, expires: float | None
    ) -> None:
        self.befores = befores
        self.olds = olds
        self.result = result
        self.expires = expires


class DeviceTwins:
    """The twins of one device. Every method may be called from any thread.

    Attributes:
        device: whose they are.
        size: bytes that they count for `Options.max_devices_bytes`.
        counted: the same, when it was counted last.

    Args:
        owner: the twins of all devices.
        device: as above.
    """

    __slots__ = (
        "_closed",
        "_deadlines",
        "_decisions",
        "_dirty",
        "_epoch",
        "_held",
        "_link",
        "_lock",
        "_mark",
        "_marks",
        "_owner",
        "_skipped",
        "_twins",
        "_unwritten",
        "_waiting",
        "counted",
        "device",
        "size",
    )

    def __init__(self, owner: Owner, device: DeviceHandle) -> None:
        self.device = device
        self.size = self.counted = 0
        self._owner = owner
        self._lock = allocate_lock()  # for what follows
        self._twins: dict[str, Twin] = {}  # by endpoint; those of which nothing is known have none
        self._closed = False  # the device is forgotten
        self._link: TwinLink | None = None
        self._epoch = -1
        self._mark = 0
        self._marks: dict[int, tuple[str, int]] = {}  # v0, v1: by number of the probe, the set that it is behind
        self._waiting: dict[str, float] = {}  # endpoints with something to send, and when at the earliest
        self._held: dict[str, float] = {}  # when a held endpoint was set again last
        self._unwritten: dict[str, list[_Write]] = {}  # by endpoint, oldest first
        self._skipped: set[str] = set()  # twins that were to be written while a set of theirs was
        self._dirty: set[str] = set()  # twins of which only reports are not written
        self._deadlines: dict[str, tuple[int, float]] = {}  # version and monotonic time of sets with a time to live
        self._decisions: dict[Signal, Mapping[str, int]] = {}  # who waits for which versions

    # -- what is known ---------------------------------------------------------------------------------

    def states(self, endpoint_ids: Iterable[str]) -> dict[str, State]:
        """Return the states of these endpoints, and of all others that there are twins of."""
        with self._lock:
            return {one: self._state(one) for one in dict.fromkeys((*endpoint_ids, *self._twins))}

    def states_of(self, endpoint_ids: Iterable[str]) -> dict[str, State]:
        """Return the states of these endpoints."""
        with self._lock:
            return {one: self._state(one) for one in endpoint_ids}

    @property
    def are_desired(self) -> bool:
        """Whether the program has set any."""
        with self._lock:
            return any(twin.desired_at is not None for twin in self._twins.values())

    @property
    def confirm_timeout(self) -> float:
        """Seconds that a set is waited for."""
        entry = self._owner.type_of(self.device)
        return _DEFAULT_TIMEOUT if entry is None else entry.confirm_timeout

    def are_done(self, versions: Mapping[str, int]) -> bool:
        """Ask whether sets of these versions are all confirmed or assumed."""
        with self._lock:
            found = [(self._twins.get(name), version) for name, version in versions.items()]
        return all(
            twin is not None and twin.version == version and twin.status in (Status.CONFIRMED, Status.ASSUMED)
            for twin, version in found
        )

    def await_decision(self, versions: Mapping[str, int], signal: Signal) -> None:
        """Set a signal when none of the sets of these versions is outstanding, which may be now."""
        with self._lock:
            decided = self._are_decided(versions)
            if not decided:
                self._decisions[signal] = versions
        if decided:
            signal.set()

    def await_no_longer(self, signal: Signal) -> None:
        """Set this signal no longer."""
        with self._lock:
            self._decisions.pop(signal, None)

    # -- what a program wants --------------------------------------------------------------------------

    def set(
        self, values: Mapping[str, Value], expected: Mapping[str, int], expires: float | None, by: str
    ) -> SetResult:
        """Set endpoints, all of them or none.

        Args:
            values: by endpoint; checked.
            expected: the versions that some of them must have.
            expires: when it is of no use any more, in seconds since 1970, or None.
            by: who wants it.

        Returns:
            What becomes of it; the caller waits until it is written.

        Raises:
            UnknownEndpoint: the device is forgotten.
            VersionConflict: a version is another one.
            StoreUnavailable: too much waits for the store.
        """
        now = self._owner.wall()
        acts = {name: partial(Twin.set, value=value, now=now, by=by, expires=expires) for name, value in values.items()}
        return self._desire(acts, expected, expires)

    def unset(self, endpoint_id: str) -> SetResult | None:
        """Withdraw what is desired. Returns None if nothing is."""
        with self._lock:
            twin = self._twins.get(endpoint_id)
            if twin is None or twin.desired_at is None:
                return None
        return self._desire({endpoint_id: Twin.unset}, {}, None)

    def _desire(
        self, acts: Mapping[str, Callable[[Twin], object]], expected: Mapping[str, int], expires: float | None
    ) -> SetResult:
        writer = self._owner.writer
        with self._lock:
            self._check(expected)
            olds = {name: self._state(name) for name in acts}
            befores = {name: copy(self._twin(name)) for name in acts}
            for name, act in acts.items():
                act(self._twins[name])
            versions = {name: self._twins[name].version for name in acts}
            result = SetResult(self, versions, self._owner.wait_here, is_stored=writer is not None)
            write = _Write(befores, olds, result, expires)
            if writer is not None:
                try:
                    ticket = writer.submit(*[PutTwin(self._record(name)) for name in acts])
                except BaseException:
                    for name, before in befores.items():
                        self._twins[name].undo(before)
                    raise
                for name in acts:
                    self._unwritten.setdefault(name, []).append(write)
        if writer is None:
            self._go_on(write)
        else:
            ticket.done.add_callback(partial(self._written, write, ticket))
        return result

    def _check(self, expected: Mapping[str, int]) -> None:
        if self._closed:
            raise UnknownEndpoint(f"device {self.device.id!r} is forgotten")
        for name, version in expected.items():
            twin = self._twins.get(name)
            if version != (0 if twin is None else twin.version):
                raise VersionConflict(self._state(name), version)

    def _written(self, write: _Write, ticket: Ticket) -> None:
        """Go on when a set is in the store, or take it back; in a thread of the store's."""
        error = ticket.error
        with self._lock:
            again = set()
            for name, before in write.befores.items():
                writes = self._unwritten.get(name, [])
                place = writes.index(write)
                if error is not None and place + 1 < len(writes):
                    writes[place + 1].befores[name] = before
                elif error is not None and name in self._twins:
                    self._twins[name].undo(before)
                del writes[place]
                if not writes:
                    del self._unwritten[name]
                    if name in self._skipped:
                        self._skipped.discard(name)
                        again.add(name)
        if again and self._owner.writer is not None:
            self._owner.writer.mark_twins(self.device.id, again)
        if error is None:
            self._go_on(write)
        write.result.tell_written(error)

    def _go_on(self, write: _Write) -> None:
        """Send what is set, and tell of it."""
        versions = write.result.versions
        with self._turn() as turn:
            for name, old in write.olds.items():
                twin = self._twins.get(name)
                if twin is None:
                    continue
                self._note_size(twin)
                if twin.waits:
                    self._waiting.setdefault(name, 0.0)
                new = self._state(name)
                if self._owner.is_observed(self.device) and _differ(old, new):
                    turn.changes.append(Change(name, old, new))
                if write.expires is not None:
                    self._expect_end(name, versions[name], write.expires)
        self._owner.tell(self.device, turn.changes)
        self.pump()

    def expire(self, now: float) -> None:
        """Reject the sets whose time is over, by monotonic seconds."""
        with self._turn() as turn:
            for name, (version, due) in list(self._deadlines.items()):
                twin = self._twins.get(name)
                if twin is None or twin.version != version or twin.expires is None:
                    del self._deadlines[name]
                elif due <= now:
                    del self._deadlines[name]
                    self._apply(turn, name, Twin.expire)
            rest = [due for _, due in self._deadlines.values()]
        if rest:
            self._owner.expire_later(self, min(rest))
        self._owner.tell(self.device, turn.changes)

    def _expect_end(self, name: str, version: int, expires: float) -> None:
        """Look at a set when its time is over, in seconds since 1970. The lock is held."""
        owner = self._owner
        due = owner.clock() + expires - owner.wall()
        self._deadlines[name] = version, due
        owner.expire_later(self, due)

    # -- what the device says --------------------------------------------------------------------------

    def report(
        self, values: Mapping[str, tuple[Value, float]], *, echo: bool = False, is_past: bool = False
    ) -> tuple[list[Change], bool]:
        """Take reports of the device.

        Args:
            values: by endpoint, the value and when it was, in seconds since 1970.
            echo: whether this is an event of v0 or v1 with the name of an endpoint.
            is_past: whether the times are the device's own, so that one before the last report changes nothing.

        Returns:
            What has changed, to be told when the handler of the event has run; and whether all that was the device's
            word, and no echo.
        """
        entry = self._owner.type_of(self.device)
        held = frozenset[str]() if entry is None else entry.hold
        is_word = True
        with self._turn() as turn:
            if self._closed:
                return [], is_word
            for name, (value, when) in values.items():
                twin = self._twins.get(name)
                if is_past and twin is not None and twin.reported_at is not None and when < twin.reported_at:
                    continue
                hold = name in held
                was_settled = twin is not None and twin.status is not Status.PENDING
                act = partial(Twin.report, value=value, now=when, echo=echo, hold=hold)
                is_word = bool(self._apply(turn, name, act)) and is_word
                if hold and was_settled and self._twins[name].waits:
                    self._hold_again(name)
        self.pump()
        return turn.changes, is_word

    def _hold_again(self, endpoint_id: str) -> None:
        """Set a held endpoint again, but not as fast as the device may change it."""
        now = self._owner.clock()
        due = max(now, self._held.get(endpoint_id, -_HOLD_PAUSE) + _HOLD_PAUSE)
        self._held[endpoint_id] = self._waiting[endpoint_id] = due

    def begin(self, link: TwinLink, declared: Iterable[str], said: Mapping[str, Value]) -> None:
        """Note that the device is connected.

        Args:
            link: its connection.
            declared: its endpoints; twins of others are dropped.
            said: what it has reported with its HELLO.
        """
        entry = self._owner.type_of(self.device)
        held = frozenset[str]() if entry is None else entry.hold
        now = self._owner.wall()
        kept = set(declared)
        with self._turn() as turn:
            if self._closed or link.epoch <= self._epoch:
                return
            self._epoch, self._link = link.epoch, link
            self._marks.clear()
            self._held.clear()
            dropped = [name for name in self._twins if name not in kept]
            for name in dropped:
                self._drop(name)
            for name, value in said.items():
                hold = name in held
                self._apply(turn, name, partial(Twin.report, value=value, now=now, hold=hold))
            for name in self._twins:
                self._apply(turn, name, partial(Twin.connect, hold=name in held, said=name in said))
        if dropped and self._owner.writer is not None:
            with suppress(StoreUnavailable):  # closed
                self._owner.writer.submit(DropTwins(self.device.id, tuple(sorted(kept))))
        self._owner.tell(self.device, turn.changes)
        self.pump()

    def end(self, link: TwinLink) -> None:
        """Note that a connection has ended."""
        with self._turn() as turn:
            if self._link is not link:
                return
            self._link = None
            self._marks.clear()
            for name, twin in self._twins.items():
                if twin.status is Status.PENDING or twin.on_way:
                    self._apply(turn, name, Twin.disconnect)
            turn.marks |= self._dirty
        self._owner.tell(self.device, turn.changes)

    def was_read(self, link: TwinLink, number: int) -> None:
        """Note that a device of v0 or v1 has read what was sent before a probe."""
        with self._turn() as turn:
            if self._link is not link or number not in self._marks:
                return
            name, version = self._marks.pop(number)
            if name in self._twins:
                self._apply(turn, name, partial(Twin.was_read, version=version))
        self._owner.tell(self.device, turn.changes)
        self.pump()

    # -- what is sent to it ----------------------------------------------------------------------------

    def pump(self) -> None:
        """Send what is outstanding, as far as may be on its way now."""
        if not self._waiting:
            return
        orders: list[tuple[str, int, Value]] = []
        is_early = False
        with self._lock:
            link = self._link
            if link is None:
                return
            now = self._owner.clock()
            free = MOST_ON_WAY - sum(twin.on_way > 0 for twin in self._twins.values())
            for name, due in list(self._waiting.items()):
                twin = self._twins.get(name)
                if twin is None or not twin.waits:
                    del self._waiting[name]
                elif name in self._unwritten:
                    continue
                elif due > now:
                    is_early = True
                elif len(orders) < free:
                    del self._waiting[name]
                    value = twin.take()
                    orders.append((name, twin.version, value))
        if is_early:
            self._owner.pump_later(self)
        for name, version, value in orders:
            self._send(link, name, version, value)

    def _send(self, link: TwinLink, name: str, version: int, value: Value) -> None:
        try:
            if link.session.version == 2:
                pending = link.calls.begin(name, value)
                pending.done.add_callback(partial(self._answered, link, name, version, pending))
                is_sent = True
            else:
                is_sent = self._emit(link, name, version, value)
        except (CallDisconnected, TooManyCalls):
            is_sent = False
        except EncodeError as error:
            self._answer(link, name, partial(Twin.reject, version=version, why=f"it cannot be sent: {error}"))
            return
        if not is_sent:
            self._lose(link, name)

    def _emit(self, link: TwinLink, name: str, version: int, value: Value) -> bool:
        """Send a set to a device without calls, with a ping behind it. Returns whether the connection took it."""
        frame = link.session.encode(name, link.client.as_sent(name, value))
        with self._lock:
            self._mark += 1
            number = self._mark
            self._marks[number] = name, version
        if link.send(frame):
            with self._lock:
                self._marks.pop(number, None)
            return False
        probe(link, WasRead(number))
        return True

    def _answered(self, link: TwinLink, name: str, version: int, pending: Any) -> None:
        """Take the answer of the device. The lock of the connection is held if it has ended, or gives up."""
        now = self._owner.wall()
        try:
            value = pending.result()
        except NoHandler:
            act: Callable[[Twin], object] = partial(Twin.reject, version=version, why=NO_HANDLER, no_handler=True)
        except (RemoteError, InvalidData) as error:
            act = partial(Twin.reject, version=version, why=str(error))
        except CallError:  # there is none
            self._lose(link, name)
            return
        else:
            endpoint = self.device.endpoints.get(name)
            found = None if endpoint is None or value is None else endpoint.report(value)
            act = partial(Twin.confirm, version=version, value=None if found is None else found.value, now=now)
        self._answer(link, name, act, now)
        self.pump()

    def _answer(self, link: TwinLink, name: str, act: Callable[[Twin], object], now: float | None = None) -> None:
        """Take what a device says to a set; `now` if that may be a value."""
        with self._turn() as turn:
            twin = self._twins.get(name)
            if self._link is not link or twin is None:
                return
            self._apply(turn, name, act)
            is_reading, value = now is not None and twin.reported_at == now, twin.reported
        if is_reading and now is not None:
            self._owner.record_reading(self.device, name, value, now)
        self._owner.tell(self.device, turn.changes)

    def _lose(self, link: TwinLink, name: str) -> None:
        """Note that a set has not arrived, or nobody knows; it is sent again soon."""
        with self._lock:
            twin = self._twins.get(name)
            if self._link is not link or twin is None:
                return
            twin.disconnect()
            if twin.waits:
                self._waiting[name] = self._owner.clock() + _RETRY
        self._owner.pump_later(self)

    # -- what is written -------------------------------------------------------------------------------

    def records(self, endpoint_ids: Iterable[str] | None = None) -> list[TwinRecord]:
        """Make the records of some twins; of those whose set is being written, later. None: of all, as they are."""
        with self._lock:
            if endpoint_ids is None:
                return [self._record(name) for name in self._twins]
            found = []
            for name in endpoint_ids:
                if name in self._unwritten:
                    self._skipped.add(name)
                elif name in self._twins:
                    self._dirty.discard(name)
                    found.append(self._record(name))
            return found

    def restore(self, record: TwinRecord) -> None:
        """Enter a twin as the store has it."""
        twin = Twin()
        twin.reported, twin.reported_at = read_json(record.reported), record.reported_at
        twin.desired, twin.desired_at = read_json(record.desired), record.desired_at
        twin.desired_by, twin.version = record.desired_by, record.version
        twin.status, twin.reason, twin.expires = Status(record.status), record.reason, record.expires
        with self._lock:
            self._twins[record.endpoint_id] = twin
            self.size += _SIZE + len(record.endpoint_id)
            self._note_size(twin)
            if twin.waits:
                self._waiting[record.endpoint_id] = 0.0
            if twin.expires is not None:
                self._expect_end(record.endpoint_id, twin.version, twin.expires)

    def write(self) -> None:
        """Have all written that only reports have changed."""
        with self._lock:
            dirty = list(self._dirty)
        if dirty and self._owner.writer is not None:
            self._owner.writer.mark_twins(self.device.id, dirty)

    def close(self) -> None:
        """Note that the device is forgotten. The registry's lock is held."""
        with self._lock:
            self._closed = True
            self._link = None
            self._twins.clear()
            self._waiting.clear()
            self._dirty.clear()
            signals = list(self._decisions)
            self._decisions.clear()
        for signal in signals:
            signal.set()

    # -- inside: the lock is held ----------------------------------------------------------------------

    @contextmanager
    def _turn(self) -> Iterator[_Turn]:
        """Hold the lock, and do afterwards what the changes ask for, but for telling and sending."""
        turn = _Turn()
        with self._lock:
            yield turn
            if self._decisions:
                self._decide(turn)
            size = self.size
        owner = self._owner
        if owner.writer is not None:
            if turn.marks:
                owner.writer.mark_twins(self.device.id, turn.marks)
            if turn.reported:
                owner.write_later(self)
        if abs(size - self.counted) >= _SIZE:
            self.counted = size
            owner.resized(self.device)
        for signal in turn.signals:
            signal.set()

    def _decide(self, turn: _Turn) -> None:
        for signal, versions in list(self._decisions.items()):
            if self._are_decided(versions):
                del self._decisions[signal]
                turn.signals.append(signal)

    def _are_decided(self, versions: Mapping[str, int]) -> bool:
        found = [(self._twins.get(name), version) for name, version in versions.items()]
        return all(
            twin is None or twin.version != version or twin.status is not Status.PENDING for twin, version in found
        )

    def _apply(self, turn: _Turn, name: str, act: Callable[[Twin], object]) -> object:
        """Change a twin, and note what that asks for. Returns what `act` does."""
        twin = self._twin(name)
        old = self._state(name) if self._owner.is_observed(self.device) else None
        lasting, reported_at, reported = _lasting(twin), twin.reported_at, twin.reported
        result = act(twin)
        if _lasting(twin) != lasting:
            turn.marks.add(name)
        elif twin.reported_at != reported_at or twin.reported is not reported:
            self._dirty.add(name)
            turn.reported = True
        if twin.reported is not reported:
            self._note_size(twin)
        if twin.waits:
            self._waiting.setdefault(name, 0.0)
        if old is not None:
            new = self._state(name)
            if _differ(old, new):
                turn.changes.append(Change(name, old, new))
        return result

    def _twin(self, name: str) -> Twin:
        twin = self._twins.get(name)
        if twin is None:
            twin = self._twins[name] = Twin()
            self.size += _SIZE + len(name)
        return twin

    def _drop(self, name: str) -> None:
        twin = self._twins.pop(name)
        self.size -= _SIZE + len(name) + twin.size
        self._waiting.pop(name, None)
        self._dirty.discard(name)

    def _note_size(self, twin: Twin) -> None:
        size = sum(len(value) for value in (twin.reported, twin.desired) if isinstance(value, str))
        self.size += size - twin.size
        twin.size = size

    def _state(self, name: str) -> State:
        twin = self._twins.get(name)
        device = self.device
        away = device.presence is not Presence.ONLINE
        if twin is None:
            return State(name, stale=away)
        entry = self._owner.type_of(device)
        max_age = None if entry is None else entry.max_age
        is_old = max_age is not None and (twin.reported_at is None or self._owner.wall() - twin.reported_at > max_age)
        return State(
            name,
            twin.reported,
            _date(twin.reported_at),
            twin.desired,
            _date(twin.desired_at),
            twin.desired_by,
            twin.version,
            twin.status,
            self._what_for(name, twin) if twin.status is Status.PENDING else twin.reason,
            away or is_old,
            self._is_out_of_range(name, twin),
        )

    def _is_out_of_range(self, name: str, twin: Twin) -> bool:
        endpoint = None if twin.reported_at is None else self.device.endpoints.get(name)
        return endpoint is not None and endpoint.validate(twin.reported)[0] is not ValidationResponse.VALID

    def _what_for(self, name: str, twin: Twin) -> str:
        """Say what a set waits for."""
        if name in self._unwritten:
            return "being stored"
        if self._link is None:
            wakes = self.device.lasting.wakes
            asleep = self.device.presence in (Presence.SLEEPING, Presence.LATE) and wakes is not None
            return f"sleeping until {_date(wakes):%Y-%m-%d %H:%M:%S} UTC" if asleep else "away"
        if twin.on_way and twin.on_way != twin.version:
            return "behind an earlier set"
        return "sent" if twin.on_way else "waiting to be sent"

    def _record(self, name: str) -> TwinRecord:
        twin = self._twins[name]
        return TwinRecord(
            self.device.id,
            name,
            write_json(twin.reported),
            twin.reported_at,
            write_json(twin.desired),
            twin.desired_at,
            twin.desired_by,
            twin.version,
            twin.status,
            twin.reason,
            twin.expires,
        )


def _lasting(twin: Twin) -> tuple[object, ...]:
    """Return what must not be lost when the server is killed."""
    return twin.status, twin.desired_at, twin.desired, twin.version, twin.reason


def _differ(old: State, new: State) -> bool:
    """Return whether a program should hear of it: not of a time alone, and not of what a set waits for."""
    return _told(old) != _told(new)


def _told(state: State) -> tuple[object, ...]:
    why = state.reason if state.status is Status.REJECTED else ""
    return state.reported_at is None, state.reported, state.desired, state.version, state.status, why


def _date(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

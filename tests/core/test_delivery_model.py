"""Both ends of durable messages, over a wire that loses, repeats, delays, splits and cuts: once, and in order.

The server is a whole manager on the in-memory host, the device the session that both clients share. Either can be
killed and started again between any two steps; what it has not written down by then is gone.
"""

from __future__ import annotations

import os
from collections import deque
from copy import deepcopy
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from iotio import DeviceType, IoTClient
from iotio.core.durable.delivery import Delivery, DeliveryState
from iotio.core.manager import Manager
from iotio.core.primitives import Signal
from iotio.core.storage.batch import AskRecord, Ticket
from iotio.core.storage.contract import Change, PutDevice, Store
from iotio.core.storage.writer import StoreWriter
from iotio.core.target import Outgoing
from iotio.hosts.memory import MemoryConnection, connect
from iotio.store import MemoryStore
from iotio_client.buffer import Buffer
from iotio_client.identity import Identity
from iotio_client.received import Acknowledged, Dispatch, Ignored
from iotio_client.session import Session, State
from iotio_protocol import v2
from tests.support.memory import Clock
from tests.support.wire import Opcode, encode_frame


class HandWriter(StoreWriter):
    """A writer that writes when it is told to, so that a kill can come before."""

    def __init__(self, store: Store, record: AskRecord) -> None:
        self._hand_store = store
        self._ask = record
        self._entries: list[tuple[tuple[Change, ...] | str, Ticket]] = []  # of a device that is marked the id

    def submit(self, *changes: Change) -> Ticket:
        ticket = Ticket()
        self._entries.append((changes, ticket))
        return ticket

    def mark(self, device_id: str) -> None:
        self._entries.append((device_id, Ticket()))

    def close(self, *arguments: Any, **more: Any) -> bool:
        return True

    def write(self) -> None:
        """Write all that waits, and what comes of that."""
        while self._entries:
            self.write_batch()

    def write_batch(self) -> None:
        """Write all that waits, in one piece."""
        entries, self._entries = self._entries, []
        self._hand_store.commit([change for changes, _ in entries for change in self._changes(changes)])
        for _, ticket in entries:
            ticket.done.set()

    def _changes(self, entry: tuple[Change, ...] | str) -> tuple[Change, ...]:
        if not isinstance(entry, str):
            return entry
        record = self._ask(entry)
        return () if record is None else (PutDevice(record),)


class HandManager(Manager):
    """A manager with such a writer."""

    hand: HandWriter

    def make_store_writer(self, store: Store) -> StoreWriter:
        self.hand = HandWriter(store, self.recorder.record)
        return self.hand

    def wait_here(self, signal: Signal, timeout: float | None) -> bool:
        self.hand.write()
        return signal.is_set


class Sensor(DeviceType):
    """Notes what comes, when that is written down."""

    def __init__(self, effects: list[int]) -> None:
        super().__init__("sensor")
        self.effects = effects

    def on_reading(self, message: int, client: IoTClient) -> None:
        assert client.message is not None
        client.message.transaction(lambda _: self.effects.append(message))


class Device:
    """A device that is a session and a wire, without I/O.

    Attributes:
        effects: what commands have done; as safe as the buffer.
    """

    def __init__(self) -> None:
        self.buffer = Buffer(max_messages=10_000)  # each of its methods is one transaction, as with a file
        self.effects: list[int] = []
        self.up: deque[bytes] = deque()  # messages on their way to the server
        self.down: deque[bytes] = deque()  # and from it
        self.rest = b""  # a part of a frame
        self.connection: MemoryConnection | None = None
        self.start()

    def start(self) -> None:
        """It is switched on."""
        self.session = Session(Identity("d", "sensor", {}), protocol_version=2, buffer=self.buffer)

    def lose_memory(self) -> None:
        """What it has kept is gone."""
        self.cut()
        self.buffer = Buffer(max_messages=10_000)
        self.start()

    def kill(self) -> None:
        """It is switched off, and on again later. What is in the buffer stays."""
        self.cut()
        kept = deepcopy((self.buffer.outgoing.name, self.buffer.outgoing.counter, list(self.buffer.outgoing)))
        heard = self.buffer.incoming.stream, self.buffer.incoming.last
        self.buffer = Buffer(max_messages=10_000)
        outgoing = self.buffer.outgoing
        outgoing.name, outgoing.counter = kept[0], kept[1]
        for number, message in kept[2]:
            outgoing.restore(number, message)
        self.buffer.incoming.stream, self.buffer.incoming.last = heard
        self.start()

    def connect(self, manager: Manager) -> None:
        """Dial, and send HELLO; the upgrade is taken for granted."""
        self.session.connecting()
        self.connection = connect(manager, subprotocol=v2.SUBPROTOCOL)
        hello = self.session.agreed(v2.SUBPROTOCOL)
        assert isinstance(hello, bytes)
        self.up.append(hello)

    def cut(self) -> None:
        """The connection breaks; what is on its way is lost."""
        connection, self.connection = self.connection, None
        self.up.clear()
        self.down.clear()
        self.rest = b""
        if connection is not None:
            connection.deliver(b"")
            connection.read()
            self.session.durable.suspend()
            self.session.wait(0.0)

    def take_output(self) -> None:
        """Whole messages of what the server has written."""
        assert self.connection is not None
        data = self.rest + self.connection.read()
        while len(data) >= 2:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            if len(data) < start + size:
                break
            opcode, payload, data = data[0] & 15, data[start : start + size], data[start + size :]
            if opcode == Opcode.BINARY:
                self.down.append(payload)
            elif opcode == Opcode.CLOSE:
                self.down.append(b"")
        self.rest = data

    def receive(self, message: bytes) -> None:
        """One message, or b"" for the end."""
        session = self.session
        if not message:
            self.cut()
        elif session.state is State.CONNECTING:
            packet = v2.decode(message)
            if not isinstance(packet, v2.Greeting):
                self.cut()  # its WELCOME was lost
                return
            assert session.welcome(message, 0.0) is None
            session.durable.resume()
            session.opened(0.0)
            self.send_on()
        else:
            self.react(message)

    def react(self, message: bytes) -> None:
        received = self.session.codec.receive(message)
        if isinstance(received, Dispatch):
            known = self.session.durable.known(received)
            if known is None:
                ack = self.session.durable.handled(received, [lambda _: self.effects.append(received.value)])
                assert ack is not None
                self.up.append(ack)
            else:
                self.ignore(known)
        elif isinstance(received, Acknowledged):
            wrong = self.session.durable.acknowledged(received.upto)
            if wrong is not None:
                self.ignore(wrong)
        elif isinstance(received, Ignored):
            self.ignore(received)
        if self.connection is not None:
            self.send_on()

    def ignore(self, ignored: Ignored) -> None:
        if isinstance(ignored.reply, bytes):
            self.up.append(ignored.reply)
        if ignored.invalid:
            self.cut()

    def send_on(self) -> None:
        """What may be sent now."""
        while (packet := self.session.durable.next()) is not None:
            assert isinstance(packet, bytes)
            self.up.append(packet)

    def send(self, value: int) -> None:
        """A durable reading."""
        self.session.durable.keep("reading", value, 0)
        if self.connection is not None:
            self.send_on()


UP_FATES = st.sampled_from(["arrives"] * 5 + ["comes twice", "is lost", "is cut in the middle"])
DOWN_FATES = st.sampled_from(["arrives"] * 5 + ["comes twice", "is lost"])


def something_up(self: BothEnds) -> bool:
    return self.device.connection is not None and bool(self.device.up)


def something_down(self: BothEnds) -> bool:
    return self.device.connection is not None and bool(self.device.down)


def device_is_known(self: BothEnds) -> bool:
    """Not if the server was killed before it had written down that there is one."""
    return self.manager.device("d") is not None


class BothEnds(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = MemoryStore()
        self.server_effects: list[int] = []
        self.readings: list[int] = []
        self.commands: list[int] = []
        self.unwritten: list[tuple[int, Delivery]] = []
        self.n_values = 0
        self.device = Device()
        self.begin_server()
        self.reconnect()
        self.run_quiet()

    def begin_server(self) -> None:
        self.manager = HandManager(store=self.store, clock=self.clock)
        self.manager.add_type(Sensor(self.server_effects))

    def next_value(self) -> int:
        self.n_values += 1
        return self.n_values

    def reconnect(self) -> None:
        self.device.cut()
        self.device.connect(self.manager)

    # What the two want.

    @rule(count=st.integers(1, 3))
    def device_sends(self, count: int) -> None:
        for _ in range(count):
            value = self.next_value()
            self.device.send(value)
            self.readings.append(value)

    @precondition(device_is_known)
    @rule(count=st.integers(1, 3), waits=st.booleans())
    def server_emits(self, count: int, waits: bool) -> None:
        """Where it does not wait for the disk, as in a coroutine, a message counts once it is written."""
        for _ in range(count):
            value = self.next_value()
            if waits:
                self.write()  # in the order in which they were emitted
                assert self.manager.emit("command", value, client_id="d", durable=True)
                self.commands.append(value)
            else:
                (delivery,) = self.manager.durable_messages.send(
                    self.manager.devices(), Outgoing("command", value)
                ).values()
                self.unwritten.append((value, delivery))
        self.take_output()

    # What happens to them.

    @rule(what=st.lists(st.sampled_from(["up", "down", "disk"]), min_size=1, max_size=12))
    def all_goes_well(self, what: list[str]) -> None:
        """Messages arrive, and what waits for the disk is written, but not yet what comes of that."""
        for one in what:
            if one == "disk":
                self.manager.hand.write_batch()
                self.count_written()
                self.take_output()
            elif one == "up":
                self.move_up()
            else:
                self.move_down()

    def move_up(self) -> bool:
        """A message to the server arrives, if there is one."""
        device = self.device
        if device.connection is None or not device.up:
            return False
        device.connection.deliver(encode_frame(Opcode.BINARY, device.up.popleft()))
        device.take_output()
        return True

    def move_down(self) -> bool:
        """The same to the device."""
        device = self.device
        if device.connection is None or not device.down:
            return False
        device.receive(device.down.popleft())
        return True

    @precondition(something_up)
    @rule(fates=st.lists(UP_FATES, min_size=1, max_size=8), place=st.integers(0, 40))
    def up_moves(self, fates: list[str], place: int) -> None:
        """What becomes of the next messages to the server; those that arrive do so in two pieces."""
        device = self.device
        for fate in fates:
            if device.connection is None or not device.up:
                return
            message = device.up.popleft()
            frame = encode_frame(Opcode.BINARY, message)
            if fate == "comes twice":
                device.up.insert(place % 3, message)
            elif fate == "is cut in the middle":
                device.connection.deliver(frame[: len(frame) // 2])
                device.cut()
            if fate in ("arrives", "comes twice"):
                for piece in (frame[:place], frame[place:]):
                    if piece:  # no bytes would be the end of the stream
                        device.connection.deliver(piece)
                device.take_output()

    @precondition(something_down)
    @rule(fates=st.lists(DOWN_FATES, min_size=1, max_size=8), place=st.integers(0, 2))
    def down_moves(self, fates: list[str], place: int) -> None:
        """What becomes of the next messages to the device."""
        device = self.device
        for fate in fates:
            if device.connection is None or not device.down:
                return
            message = device.down.popleft()
            if fate == "comes twice" and message:
                device.down.insert(place, message)
            if fate != "is lost":
                device.receive(message)

    @rule(
        what=st.sampled_from(["the wire breaks", "the device is killed", "the server is killed"]), dials=st.booleans()
    )
    def something_happens(self, what: str, dials: bool) -> None:
        if what == "the wire breaks":
            self.device.cut()
        elif what == "the device is killed":
            self.device.kill()
        else:
            self.kill_server()
        if dials:
            self.reconnect()
            self.hurry()

    @rule(who=st.sampled_from(["device", "server"]), count=st.integers(1, 3), hears=st.booleans())
    def one_end_loses_its_memory(self, who: str, count: int, hears: bool) -> None:
        """When all is settled: what was on its way would be lost with the memory, or come twice."""
        self.settle()
        if who == "device":
            self.device.lose_memory()
        else:
            self.store = MemoryStore()
            self.kill_server()
        self.device_sends(count)
        self.reconnect()
        if hears:
            self.hurry()
        else:  # WELCOME is lost, and with it the names of the streams
            self.move_up()
            self.device.cut()
            self.server_emits(count, waits=True)

    @precondition(lambda self: self.device.connection is None)
    @rule()
    def the_device_dials(self) -> None:
        self.reconnect()
        self.hurry()

    def hurry(self) -> None:
        """HELLO and WELCOME pass; what else comes with it waits."""
        self.move_up()
        self.move_down()

    def take_output(self) -> None:
        if self.device.connection is not None:
            self.device.take_output()

    def write(self) -> None:
        self.manager.hand.write()
        self.count_written()

    def count_written(self) -> None:
        for value, delivery in self.unwritten:
            assert delivery.state is not DeliveryState.DROPPED
            self.commands.append(value)
        self.unwritten.clear()

    def kill_server(self) -> None:
        """What it has not written down is gone."""
        self.unwritten.clear()
        connection, self.device.connection = self.device.connection, None
        if connection is not None:
            self.device.session.durable.suspend()
            self.device.session.wait(0.0)
        self.device.up.clear()
        self.device.down.clear()
        self.device.rest = b""
        self.begin_server()

    # What must hold.

    @invariant()
    def a_prefix_has_had_its_effect(self) -> None:
        assert self.server_effects == self.readings[: len(self.server_effects)]
        assert self.device.effects == self.commands[: len(self.device.effects)]

    def run_quiet(self) -> None:
        """Nothing is lost any more, until nothing moves."""
        for _ in range(10_000):
            if self.device.connection is None:
                self.reconnect()
            if not (self.move_up() or self.move_down()):
                self.write()
                self.take_output()
                if not self.device.down:
                    return
        raise AssertionError("it never comes to rest")

    def settle(self) -> None:
        """All that was sent has had its effect, and both ends know it."""
        self.run_quiet()
        self.reconnect()  # what an end cannot know to be lost, such as the last message, the next connection brings
        self.run_quiet()
        assert self.server_effects == self.readings
        assert self.device.effects == self.commands
        assert len(self.device.buffer) == 0
        assert self.manager.durable_messages.waiting == 0

    def teardown(self) -> None:
        self.settle()


EXAMPLES = 2000 if os.environ.get("IOTIO_FULL") else 100


def test_a_device_that_loses_its_memory_while_its_messages_are_being_written() -> None:
    """Numbers of the old stream say nothing of the new one."""
    ends = BothEnds()
    ends.device_sends(count=3)
    ends.up_moves(fates=["arrives"] * 8, place=5)
    assert ends.manager.durable_messages.queue("d").incoming.last == 3
    ends.device.lose_memory()
    ends.reconnect()
    ends.hurry()
    ends.write()
    assert ends.server_effects == ends.readings
    assert ends.manager.durable_messages.queue("d").position[2:] == (ends.device.buffer.outgoing.name, 0)
    ends.device_sends(count=1)
    ends.kill_server()
    ends.teardown()


def test_what_is_not_written_is_not_sent() -> None:
    """A server that is killed would give the number again, and the device would take the next message for this one."""
    ends = BothEnds()
    ends.server_emits(count=1, waits=False)
    ends.something_happens(what="the wire breaks", dials=True)
    ends.device.take_output()
    assert not ends.device.down
    ends.all_goes_well(what=["disk"])
    assert len(ends.device.down) == 1
    ends.teardown()


def test_a_device_is_told_of_what_is_written_only() -> None:
    """It would forget the rest, which a server that is killed has never handled."""
    ends = BothEnds()
    ends.device_sends(count=3)
    ends.up_moves(fates=["arrives"] * 8, place=5)
    ends.something_happens(what="the wire breaks", dials=True)
    assert len(ends.device.buffer) == 3
    ends.something_happens(what="the server is killed", dials=False)
    ends.teardown()


BothEnds.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
TestBothEnds = BothEnds.TestCase

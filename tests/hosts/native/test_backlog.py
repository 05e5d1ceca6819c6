"""What one read brought is handled piece by piece, and the other devices have their turn in between."""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import Callable
from typing import Any

import pytest

from iotio import DeviceType, IoTClient, IoTManager, Options
from iotio.core.manager import Manager
from iotio.hosts.native.backlog import SLICE, Backlog
from iotio.hosts.native.connection import NativeConnection
from iotio.hosts.native.host import NativeHost
from iotio.hosts.timing import PIECE
from tests.support.hosts import eventually
from tests.support.memory import Clock
from tests.support.wire import Opcode, RawPeer, encode_frame, v1_headers

from .test_connection import Probe, frames, packet, serving

MANY = 5000  # events: several reads, and many turns
TURN = 64  # events that one device has handled at most before another has its turn


class Loop:
    """A loop that calls what is to be called soon when the test says so."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, function: Callable[[], None]) -> None:
        self.soon.append(function)

    def run(self) -> None:
        """One pass."""
        soon, self.soon = self.soon, []
        for function in soon:
            function()


class Owner:
    """A connection whose messages are single bytes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = Loop()
        self.takes = 0.0  # seconds that each message takes
        self.takes_bytes = 0.0  # seconds that each slice takes to be taken apart
        self.journal: list[Any] = []
        self.sizes: list[int] = []
        self.decoded: list[int] = []
        self.backlog = Backlog(self, self)  # type: ignore[arg-type]  # it is its host, too: clock and loop

    def decode(self, data: bytes) -> list[Any]:
        self.decoded.append(len(data))
        self.clock.now += self.takes_bytes
        return [bytes((one,)) for one in data if one]

    def take_turn(self) -> None:
        handled: list[Any] = []
        for items, size in self.backlog.pieces():
            assert len(items) <= PIECE
            handled += items
            self.sizes.append(size)
            self.clock.now += self.takes * len(items)
        self.journal.append(len(handled))

    def caught_up(self) -> None:
        self.journal.append("caught up")


def test_a_turn_has_64_messages() -> None:
    owner = Owner()
    owner.backlog.add_items([b"x"] * 150, 900)
    owner.take_turn()
    while owner.loop.soon:
        owner.loop.run()
    assert owner.journal == [64, 64, "caught up", 22]
    assert sum(owner.sizes) == 900, "each byte counts once"


def test_a_turn_ends_when_its_time_is_over() -> None:
    owner = Owner()
    owner.takes = 0.001
    owner.backlog.add_items([b"x"] * 40, 40)
    owner.take_turn()
    assert owner.journal == [PIECE]
    owner.takes = 0.0
    owner.loop.run()
    assert owner.journal == [PIECE, "caught up", 24]


def test_bytes_are_taken_apart_in_slices() -> None:
    owner = Owner()
    owner.backlog.add(bytes(3 * SLICE) + b"x")  # zeros are no messages, as the middle of a large one is none
    owner.backlog.add(b"yz")
    owner.take_turn()
    assert owner.decoded == [SLICE, SLICE, SLICE, 1, 2]
    assert owner.journal == ["caught up", 3]
    assert sum(owner.sizes) == 3 * SLICE + 3


def test_a_turn_ends_when_bytes_have_taken_its_time_though_no_message_ends_in_them() -> None:
    owner = Owner()
    owner.takes_bytes = 0.002
    owner.backlog.add(bytes(7 * SLICE))
    owner.take_turn()
    assert owner.decoded == [SLICE] * 3
    assert owner.journal == [0]
    owner.loop.run()
    assert owner.decoded == [SLICE] * 6
    owner.loop.run()
    assert owner.journal == [0, 0, "caught up", 0]
    assert owner.sizes == [7 * SLICE]


def test_bytes_that_end_no_message_count_when_they_have_come() -> None:
    owner = Owner()
    owner.backlog.add(b"x" + bytes(2 * SLICE))
    owner.take_turn()
    assert owner.sizes == [SLICE, SLICE + 1]
    assert owner.journal == ["caught up", 1]


def test_it_stands_still_while_the_lane_is_full() -> None:
    owner = Owner()
    owner.backlog.add_items([b"x"] * 100, 100)
    owner.backlog.hold()
    owner.take_turn()
    assert (owner.journal, owner.loop.soon) == ([0], [])
    owner.backlog.release()
    owner.backlog.release()
    assert len(owner.loop.soon) == 1
    owner.loop.run()
    assert owner.journal == [0, 64]


def test_what_is_to_follow_does_so_once_and_in_order() -> None:
    owner = Owner()
    owner.backlog.then(lambda: owner.journal.append("first"))
    owner.backlog.then(lambda: owner.journal.append("second"))
    owner.backlog.add(b"x" * 65)
    owner.take_turn()
    assert owner.journal == [64]
    owner.loop.run()
    assert owner.journal == [64, "caught up", "first", "second", 1]


# On the host.


@pytest.mark.parametrize("loop", ["asyncio", "auto"])
@pytest.mark.parametrize("event", ["count", "nosuch"])
def test_another_device_has_its_turn_within_a_burst(loop: str, event: str) -> None:
    other: list[RawPeer] = []

    class Kind(Probe):
        handled = 0

        async def on_begin(self, message: Any, client: IoTClient) -> None:
            other[0].send_bytes(frames(("now", 0)))
            sock = server.connection("other")._transport.get_extra_info("socket")
            # Then it is there before the rest of the burst is handled.
            assert select.select([sock.fileno()], [], [], 5)[0]

        async def on_count(self, message: Any, client: IoTClient) -> None:
            self.handled += 1

        async def on_now(self, message: Any, client: IoTClient) -> None:
            connection = manager.client("burst").socket
            self.note(f"after {connection.counters['received']}")

    kind = Kind()
    with serving(kind, loop=loop) as server, server.device("burst") as burst, server.device("other") as peer:
        manager: Any = server.manager
        other.append(peer)
        for one in (burst, peer):  # their first user code is over, which runs in a thread
            one.send_bytes(frames(("aecho", 1)))
            assert packet(one) == ("aecho", 1)
        burst.send_bytes(frames(("begin", 0), *[(event, 0)] * MANY))
        eventually(lambda: any(what.startswith("after") for what in kind.journal))
        [after] = [int(what.split()[1]) for what in kind.journal if what.startswith("after")]
        assert after <= 3 * TURN + 1  # a turn that has begun, one more before the loop looks at its sockets
        eventually(lambda: manager.client("burst").counters["received"] == MANY + 2)


@pytest.mark.parametrize("loop", ["asyncio", "auto"])
def test_another_device_has_its_turn_while_large_json_is_read_and_while_it_is_written(loop: str) -> None:
    """What it sends is there before the large message, and before the large answer; each takes many turns."""
    other: list[RawPeer] = []
    value: list[Any] = [[]] * 20_000

    class Kind(Probe):
        def send(self, message: str) -> None:
            other[0].send_bytes(frames(("now", message)))
            sock = server.connection("other")._transport.get_extra_info("socket")
            assert select.select([sock.fileno()], [], [], 5)[0]

        async def on_begin(self, message: Any, client: IoTClient) -> None:
            self.send("while it is read")

        async def on_large(self, message: Any, client: IoTClient) -> Any:
            self.note("read")
            self.send("while it is written")
            return message

        async def on_now(self, message: Any, client: IoTClient) -> None:
            connection = server.manager.client("large").socket  # type: ignore[union-attr]  # it is there
            self.note(f"{message}: {connection.counters['sent']} sent")

    def on_update(client_id: str, event: str, data: Any) -> None:
        if event == "large":
            kind.note(f"written {len(data)}")

    kind = Kind()
    with serving(kind, loop=loop) as server, server.device("large") as large, server.device("other") as peer:
        server.manager.event(on_update)
        other.append(peer)
        for one in (large, peer):  # their first user code is over, which runs in a thread
            one.send_bytes(frames(("aecho", 1)))
            assert packet(one) == ("aecho", 1)
        kind.journal.clear()
        large.send_bytes(frames(("begin", 0), ("large", value)))
        assert packet(large) == ("large", value)
        eventually(lambda: len(kind.journal) == 4)
        assert kind.journal == ["while it is read: 1 sent", "read", "while it is written: 1 sent", "written 20000"]


def test_answers_and_pongs_keep_their_order() -> None:
    with serving(Probe()) as server, server.device() as peer:
        peer.send_bytes(frames(("aecho", "first")))  # before the first user code runs, PONGs leave ahead of answers
        assert packet(peer) == ("aecho", "first")
        parts = []
        for number in range(1000):
            parts.append(frames(("aecho", number)))
            if not number % 10:
                parts.append(encode_frame(Opcode.PING, str(number).encode()))
        peer.send_bytes(b"".join(parts))
        for number in range(1000):
            assert packet(peer) == ("aecho", number)
            if not number % 10:
                frame = peer.expect_frame()
                assert (frame.opcode, frame.payload) == (Opcode.PONG, str(number).encode())


def test_what_a_device_sent_before_its_end_is_handled() -> None:
    class Kind(Probe):
        async def on_count(self, message: Any, client: IoTClient) -> None:
            self.note(str(message))

    kind = Kind()
    with serving(kind) as server, server.device() as peer:
        server.connection()
        peer.send_bytes(frames(*(("count", number) for number in range(MANY))))
        peer.close()
        eventually(lambda: kind.journal[-1:] and kind.journal[-1].startswith("disconnect"))
        assert kind.journal == ["connect", *map(str, range(MANY)), "disconnect transport_closed"]


async def test_a_device_is_read_on_in_the_next_turn() -> None:
    """Within the callback of a read, libuv would read up to 32 times before anybody else had a turn."""
    journal: list[str] = []

    class Transport(asyncio.Transport):
        def is_closing(self) -> bool:
            return False

        def write(self, data: Any) -> None: ...

        def abort(self) -> None: ...

        def pause_reading(self) -> None:
            journal.append("pause")

        def resume_reading(self) -> None:
            journal.append("resume")

    manager = Manager()
    manager.add_type(DeviceType("kind"))
    host = NativeHost(manager)
    connection = NativeConnection(host, v1_headers("d", "kind"), Transport(), peer="1.2.3.4:5", scope=None)
    connection.start()
    whole = frames(("event", "x" * 10 * SLICE))
    connection.received(whole[: 2 * SLICE])
    assert journal == ["pause"]
    while len(journal) == 1:
        await asyncio.sleep(0)
    assert journal == ["pause", "resume"]
    connection.ended()
    while not connection.teardown_done.is_set:
        await asyncio.sleep(0.01)
    host.close()


async def test_a_device_that_is_gone_is_written_nothing_and_its_backlog_is_handled() -> None:
    """The transport breaks while much that it brought is not handled yet."""
    seen: list[Any] = []

    class Kind(DeviceType):
        async def on_echo(self, message: Any, client: IoTClient) -> Any:
            seen.append(message)
            return message

        def on_disconnect(self, client: IoTClient) -> None:
            seen.append("disconnect")

    class Transport(asyncio.Transport):
        closed = False
        written = 0

        def write(self, data: Any) -> None:
            assert not self.closed
            self.written += len(data)

        def is_closing(self) -> bool:
            return self.closed

        def pause_reading(self) -> None: ...

        def resume_reading(self) -> None:
            assert not self.closed

    manager = Manager()
    manager.add_type(Kind("kind"))
    host, transport = NativeHost(manager), Transport()
    host.clock = Clock()  # however busy the machine is, no time passes
    connection = NativeConnection(host, v1_headers("d", "kind"), transport, peer="1.2.3.4:5", scope=None)
    connection.start()
    connection.received(frames(*(("echo", number) for number in range(300))))
    assert seen == list(range(TURN))
    transport.closed = True
    connection.ended()
    assert len(seen) == TURN
    while not connection.teardown_done.is_set:
        await asyncio.sleep(0.01)
    assert seen == [*range(300), "disconnect"]
    host.close()


def test_a_server_that_closes_handles_no_more() -> None:
    class Kind(Probe):
        async def on_count(self, message: Any, client: IoTClient) -> None:
            self.note(str(message))
            if message == 100:
                client.close()

    kind = Kind()
    with serving(kind) as server, server.device() as peer:
        server.connection()
        peer.send_bytes(frames(*(("count", number) for number in range(MANY))))
        assert peer.expect_frame().close_code == 1000
        peer.close()
        eventually(lambda: kind.journal[-1].startswith("disconnect"))
        assert kind.journal == ["connect", *map(str, range(101)), "disconnect removed"]


def test_a_burst_is_no_silence() -> None:
    """The device is not read while its backlog is handled: it is not pinged out for that."""
    options = Options(ping_interval=0.3, ping_timeout=0.3)
    gate = threading.Event()

    class Kind(Probe):
        def on_stuck(self, message: Any, client: IoTClient) -> None:
            gate.wait(5)

    kind = Kind()
    with serving(kind, options=options) as server, server.device() as peer:
        manager: IoTManager = server.manager
        peer.send_bytes(frames(("stuck", 0), *(("echo", number) for number in range(2000))))
        eventually(lambda: not server.connection().lane.is_reading)
        gate.set()
        assert [packet(peer) for _ in range(2000)] == [("echo", number) for number in range(2000)]
        assert manager.clients == ["d"]


def test_a_flood_of_empty_fragments_is_over_the_limit_without_a_message() -> None:
    flood = encode_frame(Opcode.BINARY, b"", fin=False) + encode_frame(Opcode.CONTINUATION, b"", fin=False) * 20_000
    with serving(Probe("probe"), Options(max_messages_per_second=100)) as server, server.device() as peer:
        peer.send_bytes(flood)
        assert peer.expect_frame().close_code == 1008

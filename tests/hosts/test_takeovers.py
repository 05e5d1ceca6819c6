"""Connections of one device that come and go at once, on every host that runs in this process."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from iotio import IoTManager, Options
from iotio_protocol import v1
from tests.support.hosts import IN_PROCESS, LocalHost, eventually, serve_local
from tests.support.lives import Kind, LateKind, together
from tests.support.wire import Opcode, RawPeer, encode_frame, v1_headers

ENDS_OF_THE_DEVICE = ("client_close", "transport_closed")
PATIENT = Options(refusal_delay=0.05, close_timeout=0.5, takeover_timeout=20)
IMPATIENT = Options(refusal_delay=0.05, close_timeout=0.5, takeover_timeout=0.2)


def sleep_of(host: str) -> Callable[[float], object]:
    if host == "gevent":
        import gevent

        sleep: Callable[[float], object] = gevent.sleep
        return sleep
    return time.sleep


def packets(*events: tuple[str, int]) -> bytes:
    return b"".join(encode_frame(Opcode.BINARY, v1.encode(event, value)) for event, value in events)


def connect(host: LocalHost, client_id: str) -> RawPeer:
    peer = host.peer(20)
    assert peer.upgrade(headers=v1_headers(client_id, "kind")).status == 101
    return peer


class Life:
    """One connection of a device: it comes, says this and that, and goes in some way. Its events tell its number."""

    def __init__(self, number: int, seed: int) -> None:
        self.choose = random.Random(seed)
        self.number = number
        self.count = self.choose.randrange(6)
        self.ends_properly = False

    def run(self, host: LocalHost, client_id: str) -> None:
        choose = self.choose
        with connect(host, client_id) as peer, suppress(OSError):  # the server may have ended it
            sent = 0
            while sent < self.count:
                some = range(sent, min(self.count, sent + choose.randint(1, 3)))
                peer.send_bytes(packets(*((choose.choice(("work", "later")), self.number * 100 + i) for i in some)))
                sent = some.stop
            if choose.random() < 0.5:
                time.sleep(0.003)
            how = choose.random()
            if how < 0.2:
                host.manager.remove(client_id)
            elif how < 0.3:
                return  # its end may overtake what it sent
            self.ends_properly = True
            if choose.random() < 0.5:
                peer.send_close()
            peer.half_close()
            peer.recv_frames_until_eof(20)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [Kind, LateKind])
@pytest.mark.parametrize("name", IN_PROCESS)
def test_promises_hold_whatever_happens_at_once(name: str, kind: type[Kind], seed: int) -> None:
    made = kind(pause=0.001, sleep=sleep_of(name))
    with serve_local(name, PATIENT) as host:
        host.manager.add_type(made)
        lives = [Life(number, 1000 * seed + number) for number in range(10)]
        together(*(lambda life=life: life.run(host, f"d{life.number % 2}") for life in lives))
        is_over(host.manager)
    made.journal.check()
    for client_id, calls in made.journal.calls.items():
        for epoch in {epoch for epoch, _ in calls}:
            _, *events, end = made.journal.of(client_id, epoch)
            numbers = [int(event) for event in events]
            if not numbers:
                continue
            life = lives[numbers[0] // 100]
            assert numbers == [life.number * 100 + i for i in range(len(numbers))], "in order, each once"
            if life.ends_properly and end.split()[1] in ENDS_OF_THE_DEVICE:
                assert len(numbers) == life.count, "what came before the device's own end is handled"


@pytest.mark.parametrize("name", IN_PROCESS)
def test_a_handler_that_takes_too_long_is_abandoned_and_holds_up_nobody(name: str) -> None:
    made = Kind(sleep=sleep_of(name))
    with serve_local(name, IMPATIENT) as host:
        host.manager.add_type(made)
        with connect(host, "d") as old:
            old.send_bytes(packets(("long", 1500), ("work", 1)))
            eventually(lambda: ["connect", "long"] in said(made, "d"))
            with connect(host, "d") as new, connect(host, "other") as other:
                began = time.monotonic()
                other.send_bytes(packets(("work", 1)))
                new.send_bytes(packets(("work", 2)))
                eventually(lambda: ["connect", "1"] in said(made, "other"))
                eventually(lambda: ["connect", "2"] in said(made, "d"))
                assert time.monotonic() - began < 1.3, "not behind the handler"
                assert ["connect", "long", "disconnect takeover"] in said(made, "d")
        is_over(host.manager)
    made.journal.overlaps.clear()  # an abandoned handler runs beside what follows it
    made.journal.check()


def said(made: Kind, client_id: str) -> list[list[str]]:
    """The calls of each connection of a device."""
    epochs = sorted({epoch for epoch, _ in list(made.journal.calls[client_id])})
    return [made.journal.of(client_id, epoch) for epoch in epochs]


def is_over(manager: IoTManager) -> None:
    """Wait until no connection is left, nor a trace of one."""
    eventually(lambda: manager.clients == [])
    eventually(lambda: manager.connections.all() == [], timeout=10)

"""One of 1 000 devices stops reading while broadcasts run: the others lose nothing and wait no longer than without it.

60 s of it, and 60 s without, by turns, by IOTIO_FULL=1.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import ExitStack

import pytest

from iotio_protocol.values import Value
from tests.load.endurance import FULL, EnduringServer, SwarmDevice, allow_descriptors, connect_all, percentile
from tests.load.harness import report

pytestmark = pytest.mark.load

OTHERS = 999
NEEDED = 2500  # descriptors
TURNS, SECONDS = (6, 10.0) if FULL else (4, 1.25)  # with a stopped reader; as many without
PAUSE = 0.1  # seconds between two broadcasts
SIZE = 1024  # bytes of one
MAX_OUTBOX = 256 * 1024
TRANSPORT = 64 * 1024  # bytes that the transport takes before it says that the stream is full
SLACK = 0.025  # seconds, for a busy machine


class Listener:
    """A device that checks that the broadcast has no gap, and notes how long each message took."""

    def __init__(self, name: str, *, gaps: bool = False) -> None:
        self.device = SwarmDevice(name, on_packet=self._take)
        self.next = 0
        self.gaps = gaps
        self.delays: list[float] = []

    def _take(self, event: str, value: Value) -> None:
        if event == "fill":
            return
        now = time.monotonic_ns()
        assert isinstance(value, bytes)
        number = int.from_bytes(value[:8], "big")
        assert number == self.next or (self.gaps and number > self.next), (self.device.id, number, self.next)
        self.next = number + 1
        self.delays.append((now - int.from_bytes(value[8:16], "big")) / 1e9)


async def all_have(listeners: list[Listener], number: int) -> None:
    """Wait until the last broadcast has come everywhere."""
    async with asyncio.timeout(20):
        while any(listener.next <= number for listener in listeners):
            await asyncio.sleep(0.01)  # a callback for each of a million messages would be part of what is measured


@pytest.mark.timeout(600 if FULL else 120)
async def test_a_stopped_reader_costs_the_others_nothing() -> None:
    if allow_descriptors() < NEEDED:
        pytest.skip(f"{NEEDED} file descriptors are needed")
    options = {"max_outbox": MAX_OUTBOX, "slow_reader": "drop_oldest", "ping_interval": 0}  # it is to stay all the time
    with ExitStack() as stack:
        server = stack.enter_context(EnduringServer(options=options))
        others = [Listener(f"d{n}") for n in range(OTHERS)]
        stopping = Listener("stopping", gaps=True)
        await connect_all([one.device for one in (*others, stopping)], server.port)
        await server.settle(lambda stats: stats["clients"] == OTHERS + 1)
        delays: dict[bool, list[list[float]]] = {False: [], True: []}
        answers = []
        for turn in range(2 * TURNS):
            stopped = bool(turn % 2)
            if stopped:
                stopping.device.transport.pause_reading()
                await server.asked("fill", device="stopping", size=16 * 1024)
            for one in others:
                one.delays.clear()
            answer = await server.asked(
                "stream", SECONDS + 20, seconds=SECONDS, pause=PAUSE, size=SIZE, watch="stopping"
            )
            await all_have(others, answer["last"])
            sent = answer["last"] - answer["first"] + 1
            assert {len(one.delays) for one in others} == {sent}
            delays[stopped] += [[one.delays[number] for one in others] for number in range(sent)]
            assert answer["short"] == 0  # the oldest is dropped, so each new one is taken
            if stopped:
                answers.append(answer)
                assert not stopping.device.lost.done()
                stopping.device.transport.resume_reading()
                await all_have([stopping], answer["last"])
        check(delays, answers)
        counters = (await server.asked("stats"))["counters"]
        assert counters["dropped"] > 0
        await server.assert_quiet()


def check(delays: dict[bool, list[list[float]]], answers: list[dict[str, float]]) -> None:
    """The delays of the others, for each broadcast, without and with it; and what waited for it."""
    usual = {stopped: statistics.median(percentile(one, 0.99) for one in each) for stopped, each in delays.items()}
    pooled = {stopped: [delay for one in each for delay in one] for stopped, each in delays.items()}
    report(
        "stopped reader",
        seconds=TURNS * SECONDS,
        deliveries={str(stopped): len(values) for stopped, values in pooled.items()},
        p50_ms={str(stopped): round(percentile(values, 0.5) * 1000, 1) for stopped, values in pooled.items()},
        p99_ms={str(stopped): round(percentile(values, 0.99) * 1000, 1) for stopped, values in pooled.items()},
        worst_ms={str(stopped): round(max(values) * 1000, 1) for stopped, values in pooled.items()},
        usual_p99_ms={str(stopped): round(value * 1000, 1) for stopped, value in usual.items()},
        waiting=max(answer["waiting"] for answer in answers),
        held=max(answer["held"] for answer in answers),
        longest_emit_ms=round(max(answer["longest"] for answer in answers) * 1000, 1),
    )
    assert usual[True] < 2 * usual[False] + SLACK  # of the middle broadcast: a hiccup of the machine says nothing
    if FULL:
        assert percentile(pooled[True], 0.99) < 2 * percentile(pooled[False], 0.99)
    assert MAX_OUTBOX / 2 < max(answer["waiting"] for answer in answers) <= MAX_OUTBOX
    assert max(answer["held"] for answer in answers) <= MAX_OUTBOX + TRANSPORT

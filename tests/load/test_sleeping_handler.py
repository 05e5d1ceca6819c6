"""`time.sleep(5)` in a handler of one device: what 100 others notice of it on the native server."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field

import pytest

from tests.load.endurance import EnduringServer, SwarmDevice, connect_all, percentile
from tests.load.harness import report

pytestmark = pytest.mark.load

ASLEEP = 5.0  # seconds
AWAKE = 1.5  # seconds of measurement before it, and after it
OTHERS = 100
QUIET = 20  # devices beside them that only answer pings: the busy ones are never silent enough to be sent one
INTERVAL, TIMEOUT = 0.4, 0.5  # of pings, seconds
WINDOW = 0.5  # seconds
SLACK = 0.1  # seconds, for a busy machine
PAUSE = 0.1  # seconds between two questions of one device


@dataclass
class Figures:
    """When answers came, and the seconds that they took."""

    def_echo: list[tuple[float, float]] = field(default_factory=list)
    async_echo: list[tuple[float, float]] = field(default_factory=list)
    ping: list[tuple[float, float]] = field(default_factory=list)

    def milliseconds(self) -> dict[str, dict[str, float]]:
        """For the report."""
        return {
            name: {
                "count": len(times),
                "p50": round(percentile(times, 0.5) * 1000, 2),
                "p99": round(percentile(times, 0.99) * 1000, 2),
                "worst": round(max(times) * 1000, 2),
            }
            for name in vars(self)
            for times in [self.times(name)]
        }

    def times(self, name: str) -> list[float]:
        """The seconds alone."""
        return [took for _, took in getattr(self, name)]

    def good_p99(self, name: str) -> float:
        """The p99 of a good half second, of which three of four are no better: a busy machine has bad ones.

        What a handler that sleeps holds up, it holds up in all of them.
        """
        windows: dict[int, list[float]] = {}
        for when, took in getattr(self, name):
            windows.setdefault(int(when / WINDOW), []).append(took)
        return percentile([percentile(times, 0.99) for times in windows.values()], 0.25)


async def ask_on(device: SwarmDevice, number: int, figures: Figures, stop: asyncio.Event) -> None:
    """Echo and ping in turn, each device at its own times: a delay must not make them come all at once."""
    loop = asyncio.get_running_loop()
    due = loop.time() + PAUSE * number / OTHERS
    echoes = figures.def_echo if device.type == "plain" else figures.async_echo
    while not stop.is_set():
        await asyncio.sleep(max(0.0, due - loop.time()))
        for answers, ask in ((echoes, device.echo), (figures.ping, device.ping)):
            took = await ask()
            answers.append((loop.time(), took))
        due += PAUSE


async def measure(devices: list[SwarmDevice], figures: Figures, seconds: float) -> None:
    """Have all devices ask for so long."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    async with asyncio.TaskGroup() as group:
        for number, device in enumerate(devices):
            group.create_task(ask_on(device, number, figures, stop))


async def test_a_handler_that_sleeps_delays_no_other_device() -> None:
    """Of 100 others, half have `def` handlers, half `async def`; they echo and ping, and others wait for pings."""
    with EnduringServer(options={"ping_interval": INTERVAL, "ping_timeout": TIMEOUT}) as server:
        woken: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        sleeper = SwarmDevice("sleeper", on_packet=lambda event, value: woken.set_result(time.monotonic()))
        busy = [SwarmDevice(f"busy {n}", ("plain", "async")[n % 2]) for n in range(OTHERS)]
        quiet = [SwarmDevice(f"quiet {n}", ("plain", "async")[n % 2]) for n in range(QUIET)]
        await connect_all([sleeper, *busy, *quiet], server.port)
        await measure(busy, Figures(), 0.3)  # the first messages start the workers
        awake, asleep = Figures(), Figures()
        await measure(busy, awake, AWAKE)
        began = time.monotonic()
        sleeper.send("sleep", int(ASLEEP * 1000))
        await measure(busy, asleep, ASLEEP - 0.3)
        assert not woken.done()
        async with asyncio.timeout(5):
            assert await woken - began >= ASLEEP
        ended = time.monotonic()
        await measure(busy, awake, AWAKE)
        await sleeper.echo("still here")

        gaps = [gap for device in quiet for gap in ping_gaps(device, began, ended)]
        report(
            "sleeping handler",
            good_p99={name: [round(one.good_p99(name) * 1000, 2) for one in (awake, asleep)] for name in vars(awake)},
            awake=awake.milliseconds(),
            asleep=asleep.milliseconds(),
            longest_ping_gap=round(max(gaps), 3),
        )
        for name in vars(asleep):
            assert asleep.good_p99(name) < 2 * awake.good_p99(name) + SLACK, name
            assert max(asleep.times(name)) < ASLEEP / 2, name
        assert max(gaps) < ASLEEP / 2
        stats = await server.asked("stats")
        assert stats["life"] == {"connect": 1 + OTHERS + QUIET}
        await server.assert_quiet()


def ping_gaps(device: SwarmDevice, began: float, ended: float) -> list[float]:
    """Seconds between the server's pings while a handler slept."""
    times = [began, *(when for when in device.pings if began < when < ended), ended]
    return [after - before for before, after in itertools.pairwise(times)]

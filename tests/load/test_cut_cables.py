"""100 cables are cut, nothing is closed: the native server notices each in time, and says so once."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

import pytest

from iotio.hosts.timing import SWEEP_INTERVAL
from scripts.tools.debian import IPTABLES, Tool, ToolUnavailable, tool
from tests.load.endurance import EnduringServer, SwarmDevice, connect_all, percentile
from tests.load.harness import PROGRAMS, report
from tests.support.fault_proxy import FaultProxy
from tests.support.processes import JsonProgram, python_program

pytestmark = pytest.mark.load

CUT, KEPT = 100, 20  # devices
INTERVAL, TIMEOUT = 1.1, 0.9  # of pings, seconds
BOUND = INTERVAL + TIMEOUT + 2 * SWEEP_INTERVAL  # the ping may be late, and the look after it
LATE = 0.6  # seconds more for a busy machine
HELD_UP = 1.5  # seconds that the server does nothing, around the time when it would notice
SPREAD = 1.0  # seconds within which the cables are cut: at every phase of the sweep and of the pings


def check(
    lives: Mapping[str, list[tuple[str, float]]], cuts: Mapping[str, float], kept: int, *, held_up: float = 0
) -> dict[str, float]:
    """Each device whose cable was cut was noticed in time and once, no other was. Returns figures."""
    assert len(lives) == len(cuts) + kept
    delays = {}
    for client_id, life in lives.items():
        if client_id in cuts:
            assert [what for what, _ in life] == ["connect", "disconnect ping_timeout"], (client_id, life)
            delays[client_id] = life[1][1] - cuts[client_id]
        else:
            assert [what for what, _ in life] == ["connect"], (client_id, life)
    assert min(delays.values()) > TIMEOUT - 0.1
    assert max(delays.values()) < BOUND + held_up + LATE, delays
    return {
        "earliest": round(min(delays.values()), 3),
        "median": round(percentile(delays.values(), 0.5), 3),
        "latest": round(max(delays.values()), 3),
        "bound": BOUND,
    }


async def chat(device: SwarmDevice) -> None:
    """Echo until nobody answers."""
    with suppress(ConnectionError):
        while not device.lost.done():
            await device.echo()
            await asyncio.sleep(0.05)


async def test_each_cut_cable_is_noticed_in_time_and_once() -> None:
    """Some devices are idle, some send all the time, some stop in the middle of a frame; all are sent events."""
    with EnduringServer(options={"ping_interval": INTERVAL, "ping_timeout": TIMEOUT}) as server:
        async with FaultProxy(server.port) as proxy:
            devices = [SwarmDevice(f"d{n}", ("plain", "async")[n % 2]) for n in range(CUT + KEPT)]
            await connect_all(devices, proxy.port)
            before = await server.settle(lambda stats: stats["life"] == {"connect": CUT + KEPT})
            chatting = [asyncio.create_task(chat(device)) for device in devices[::3]]
            streaming = asyncio.create_task(server.asked("stream", seconds=SPREAD + BOUND, pause=0.1, size=100))
            await asyncio.sleep(INTERVAL + 0.2)  # pings are under way
            cuts = {}
            for device in devices[:CUT]:
                if int(device.id[1:]) % 4 == 0:
                    device.transport.write(b"\x82\xfe\x01")  # the beginning of a frame
                proxy.cut(device.transport.get_extra_info("sockname"))
                cuts[device.id] = time.monotonic()
                await asyncio.sleep(SPREAD / CUT)
            await server.settle(lambda stats: stats["clients"] == KEPT)
            await streaming
            figures = check(await server.lives(), cuts, KEPT)
            stats = await server.settle(lambda stats: stats["sockets"] == KEPT)
            assert stats["descriptors"] == before["descriptors"] - CUT
            assert not any(device.lost.done() for device in devices)
            for device in devices[CUT:]:
                await device.ping()
            report("cut cables, proxy", **figures)
            for device in devices:
                device.transport.abort()
            await asyncio.gather(*chatting)
        await server.settle(lambda stats: stats["sockets"] == 0)
        assert check(await server_life(server, cuts), cuts, 0)
        await server.assert_quiet()


async def server_life(server: EnduringServer, cuts: Mapping[str, float]) -> dict[str, list[tuple[str, float]]]:
    """The lives of the devices whose cables were cut."""
    return {client_id: life for client_id, life in (await server.lives()).items() if client_id in cuts}


# The same with packets that the network drops: acknowledgements are missing too, so the kernel has its own opinion.

SERVER, DEVICES = "192.0.2.1", "192.0.2.2"  # TEST-NET-1, on a wire between two namespaces


def run(*command: str, environment: Mapping[str, str] | None = None, given: bytes = b"") -> None:
    """A command that must succeed."""
    variables = {**os.environ, **(environment or {})}
    subprocess.run(command, check=True, capture_output=True, timeout=10, env=variables, input=given)


@pytest.fixture
def iptables() -> Tool:
    """The program iptables."""
    try:
        return tool(*IPTABLES)
    except ToolUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def namespaces(iptables: Tool) -> Iterator[tuple[str, str]]:
    """Two network namespaces with one wire between them: the server's and the devices'."""
    if shutil.which("ip") is None:
        pytest.skip("there is no 'ip' here (Debian package iproute2)")
    here, there = (f"iotio-{os.getpid()}-{end}" for end in ("s", "d"))
    try:
        run("ip", "netns", "add", here)
        run("ip", "netns", "add", there)
        run("ip", "-n", here, "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", there)
        for name, end, address in ((here, "wire0", SERVER), (there, "wire1", DEVICES)):
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", end)
            run("ip", "-n", name, "link", "set", end, "up")
        run("ip", "netns", "exec", there, str(iptables.path), "-L", "-n", environment=iptables.environment)
    except subprocess.CalledProcessError as error:
        remove(here, there)
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
    yield here, there
    remove(here, there)


def remove(*names: str) -> None:
    """Remove namespaces that may not exist."""
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=10)


@pytest.mark.parametrize("busy", [False, True], ids=["in silence", "while the server sends and is held up"])
async def test_each_device_whose_packets_are_dropped_is_noticed(
    namespaces: tuple[str, str], iptables: Tool, busy: bool
) -> None:
    """All at once: the power of a building. The kernel may not be quicker than a ping, it knows no reason."""
    here, there = (("ip", "netns", "exec", name) for name in namespaces)
    options = {"ping_interval": INTERVAL, "ping_timeout": TIMEOUT}
    with (
        EnduringServer(before=here, host=SERVER, options=options) as server,
        JsonProgram([*there, *python_program(PROGRAMS / "swarm.py", SERVER, str(server.port), str(CUT))]) as devices,
    ):
        await asyncio.to_thread(devices.expect, "ready")
        before = await server.settle(lambda stats: stats["life"] == {"connect": CUT})
        await asyncio.sleep(INTERVAL)
        if busy:
            streaming = asyncio.create_task(server.asked("stream", seconds=BOUND, pause=0.1, size=100))
        rules = b"*filter\n:INPUT DROP\n:FORWARD ACCEPT\n:OUTPUT DROP\nCOMMIT\n"
        began = time.monotonic()
        restore = iptables.path.with_name(f"{iptables.path.name}-restore")
        run(*there, str(restore), environment=iptables.environment, given=rules)
        if busy:
            await asyncio.sleep(began + INTERVAL + TIMEOUT - 0.3 - time.monotonic())
            server.signal(signal.SIGSTOP)
            await asyncio.sleep(HELD_UP)
            server.signal(signal.SIGCONT)
            await streaming
        await server.settle(lambda stats: stats["clients"] == 0)
        cuts = dict.fromkeys((f"d{n}" for n in range(CUT)), began)
        figures = check(await server.lives(), cuts, 0, held_up=HELD_UP if busy else 0)
        stats = await server.settle(lambda stats: stats["sockets"] == 0)
        assert stats["descriptors"] == before["descriptors"] - CUT
        await server.assert_quiet()
        report("cut cables, namespaces", busy=busy, **figures)

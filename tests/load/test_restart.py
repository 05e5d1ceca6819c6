"""A server is killed and started again: all of its devices come back, by the waits that our client draws.

5 000 devices by IOTIO_FULL=1, which prints the curve that docs/how-to/many-devices.md shows.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.load.endurance import FULL, EnduringServer, allow_descriptors
from tests.load.harness import PROGRAMS, report
from tests.support.processes import JsonProgram, free_port, python_program

pytestmark = pytest.mark.load

DEVICES, PROCESSES = (5000, 2) if FULL else (300, 1)
NEEDED = DEVICES // PROCESSES + 200, DEVICES + 500  # descriptors of a fleet's process and of the server
DOWN = 2.0 if FULL else 0.5  # seconds from the kill to the new start
LONGEST = () if FULL else ("2",)  # seconds between two attempts; the client's own are up to a minute
IN_TIME = 200.0 if FULL else 30.0  # seconds


class Fleet:
    """The processes that the devices live in."""

    def __init__(self, port: int, stack: ExitStack) -> None:
        share = DEVICES // PROCESSES
        self.processes = [
            stack.enter_context(
                JsonProgram(python_program(PROGRAMS / "fleet.py", str(port), str(number * share), str(share), *LONGEST))
            )
            for number in range(PROCESSES)
        ]

    def tell(self) -> dict[str, Any]:
        """What all of them say, together."""
        for process in self.processes:
            process.do("tell")
        answers = [process.expect("tell", 60) for process in self.processes]
        return {
            "now": sum(answer["now"] for answer in answers),
            "events": sum(answer["events"] for answer in answers),
            **{
                what: sorted(when for answer in answers for when in answer[what])
                for what in ("connected", "failed", "lost")
            },
        }

    def wait(self, accepts: str, count: int) -> dict[str, Any]:
        """What they say once the figure has this value."""
        deadline = time.monotonic() + IN_TIME
        while True:
            found = self.tell()
            if found[accepts] == count:
                return found
            assert time.monotonic() < deadline, f"{found[accepts]} of {count} {accepts}"
            time.sleep(0.2)  # there is nothing to wait on: the processes are asked


def listening(port: int) -> str:
    """What iproute2 says of a listening socket."""
    if shutil.which("ss") is None:
        pytest.skip("there is no 'ss' here (Debian package iproute2)")
    command = ("ss", "-H", "-l", "-t", "-n", "-m", f"sport = :{port}")
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout


def not_accepted(port: int) -> int:
    """Connections to a listening socket that the kernel dropped, because its backlog was full or for another reason.

    Of this socket; /proc/net/netstat has ListenOverflows and ListenDrops, but counts those of everybody.
    """
    drops = re.findall(r"skmem:\(.*,d(\d+)\)", listening(port))
    assert len(drops) == 1, drops
    return int(drops[0])


@pytest.mark.parametrize("wanted", [None, 7])
def test_as_many_may_wait_to_be_accepted_as_the_kernel_allows(wanted: int | None) -> None:
    """Or as the program says. Of 5 000 devices that came back at once, a backlog of 2048 lost every fifth."""
    with EnduringServer(server={} if wanted is None else {"backlog": wanted}) as server:
        found = int(listening(server.port).split()[2])
        assert found == (wanted or int(Path("/proc/sys/net/core/somaxconn").read_text()))


def reached(server: EnduringServer, fleet: Fleet, events: int) -> None:
    """An emit to all is delivered to all."""
    answer = server.ask("emit", client_type="plain")
    assert answer["sent"] == DEVICES, answer
    fleet.wait("events", events)
    errors = server.ask("stats")["errors"]
    assert errors == [], errors[:3]


@pytest.mark.timeout(600 if FULL else 120)
def test_all_devices_come_back_to_a_server_that_was_killed() -> None:
    if allow_descriptors() < max(NEEDED):
        pytest.skip(f"{max(NEEDED)} file descriptors are needed")
    port = free_port()
    listening(port)
    with ExitStack() as stack:
        server = stack.enter_context(EnduringServer(port=port, life=False))
        began = time.monotonic()
        fleet = Fleet(port, stack)
        first = fleet.wait("now", DEVICES)
        assert first["failed"] == first["lost"] == []  # all came at once, each got in at its first attempt
        reached(server, fleet, DEVICES)
        assert not_accepted(port) == 0

        killed = time.monotonic()
        server.signal(signal.SIGKILL)
        server.wait()
        time.sleep(DOWN)
        server = stack.enter_context(EnduringServer(port=port, life=False))
        ready = time.monotonic()
        fleet.wait("now", DEVICES)
        reached(server, fleet, 2 * DEVICES)
        dropped = not_accepted(port)

        told = fleet.tell()
        back = [when - ready for when in told["connected"] if when > killed]
        report(
            "restart",
            devices=DEVICES,
            connected_at_first=round(first["connected"][-1] - first["connected"][0], 2),
            down=round(ready - killed, 2),
            back_within={f"{s} s": sum(when <= s for when in back) for s in (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 60)},
            most_in_a_second=max(sum(s <= when < s + 1 for when in back) for s in range(int(back[-1]) + 1)),
            last=round(back[-1], 2),
            not_accepted=dropped,
            attempts_failed=len(told["failed"]),
            memory_kib=server.ask("stats")["memory"],
            began=round(first["connected"][0] - began, 2),
        )
        assert len(back) == DEVICES
        assert dropped == 0
        assert [when - ready for when in told["failed"] if when > ready] == []  # none fails once it listens again
        assert len(told["lost"]) == DEVICES
        assert told["lost"][0] > killed

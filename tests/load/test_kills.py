"""Durable messages in both directions, while server and device are killed again and again: none lost, none twice.

IOTIO_FULL=1 kills the server 50 times and the device 25 times during 10 000 messages each way, and prints the count.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.load.endurance import FULL
from tests.load.harness import PROGRAMS, report
from tests.support.processes import Program, free_port, python_program

pytestmark = [pytest.mark.load, pytest.mark.timeout(900)]

COUNT, KILLS = (10_000, 50) if FULL else (300, 4)
IN_TIME = 120.0  # seconds without any progress


def effects(file: Path) -> list[int]:
    """What the messages have done, in order."""
    database = sqlite3.connect(file, timeout=30)
    try:
        return [value for (value,) in database.execute("SELECT value FROM effect ORDER BY place")]
    except sqlite3.OperationalError:  # no table yet
        return []
    finally:
        database.close()


class Pair:
    """A server and its device, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        port = str(free_port())
        self.files = {"server": folder / "server.db", "device": folder / "device.db"}
        self._commands = {
            name: python_program(PROGRAMS / f"kill_{name}.py", port, str(file), str(COUNT))
            for name, file in self.files.items()
        }
        self.running = {name: Program(command) for name, command in self._commands.items()}
        self.kills = {"server": 0, "device": 0}

    def kill(self, name: str) -> None:
        """SIGKILL, and start it again."""
        program = self.running[name]
        assert program.alive, f"the {name} ended by itself:\n{program.output}"
        program.signal(signal.SIGKILL)
        program.kill()
        self.kills[name] += 1
        self.running[name] = Program(self._commands[name])

    def wait(self, count: int) -> None:
        """Until so many messages have had their effect, both ways together."""
        last, deadline = -1, time.monotonic() + IN_TIME
        while (now := sum(len(effects(file)) for file in self.files.values())) < count:
            if now != last:
                last, deadline = now, time.monotonic() + IN_TIME
            story = "\n".join(program.output[-3000:] for program in self.running.values())
            assert time.monotonic() < deadline, f"no progress beyond {now} of {count}:\n{story}"
            time.sleep(0.02)  # there is nothing to wait on: the files are asked


def test_nothing_is_lost_and_nothing_twice(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    dice = random.Random(4)
    began = time.monotonic()
    try:
        for number in range(1, KILLS + 1):
            pair.wait(2 * COUNT * number // (KILLS + 1))
            time.sleep(dice.uniform(0, 0.05))  # anywhere between two messages
            pair.kill("server")
            if number % 2 == 0:
                pair.wait(2 * COUNT * number // (KILLS + 1) + 1)
                pair.kill("device")
        pair.wait(2 * COUNT)
        took = time.monotonic() - began
        found = {name: effects(file) for name, file in pair.files.items()}
    finally:
        for program in pair.running.values():
            program.kill()
    figures = {}
    for name, values in found.items():
        once = len(set(values))
        figures[f"effects at the {name}"] = f"{len(values)}, {COUNT - once} lost, {len(values) - once} twice"
    report(
        "kills",
        **{"server killed": pair.kills["server"], "device killed": pair.kills["device"]},
        seconds=took,
        **figures,
    )
    for name, values in found.items():
        assert values == list(range(1, COUNT + 1)), name

"""A program that records is killed at any moment: what was acknowledged is there once, of the rest 2 s may be lost.

IOTIO_FULL=1 kills it 200 times.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from iotio.history.query import Question, answer
from iotio.history.recorder import Recorder
from iotio.history.settings import History
from iotio.store import open_store

PROGRAM = Path(__file__).with_name("programs") / "recording.py"
KILLS = 200 if os.environ.get("IOTIO_FULL") else 3


def read(url: str, endpoint: str, start: int, stop: int) -> list[int]:
    """The times that are stored."""
    store = open_store(url)
    try:
        recorder = Recorder(store.history(), History())
        found = answer(recorder, Question("kitchen", endpoint, start, stop, None))
        return [round(one.start.timestamp() * 1000) for one in found.buckets]
    finally:
        store.close()


def test_what_is_written_survives(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'iotio.db'}"
    dice = random.Random(7)
    began = round(time.time() * 1000) - 1000
    durable: set[int] = set()
    for _ in range(KILLS):
        program = subprocess.Popen([sys.executable, str(PROGRAM), url], stdout=subprocess.PIPE, text=True)
        assert program.stdout is not None
        lines = [program.stdout.readline()]  # it is ready
        time.sleep(dice.uniform(0.0, 2.5))
        program.kill()
        lines += program.stdout.read().splitlines()
        program.wait()
        program.stdout.close()
        said: dict[str, list[int]] = {"durable": [], "plain": []}
        for line in lines:
            kind, _, moment = line.strip().partition(" ")
            if kind in said and len(moment) == 13:
                said[kind].append(int(moment))
        durable.update(said["durable"])
        end = round(time.time() * 1000) + 1000
        stored = read(url, "durable", began, end)
        assert len(stored) == len(set(stored))
        assert durable <= set(stored)
        plain = set(read(url, "plain", began, end))
        last = max(said["plain"])
        lost = [moment for moment in said["plain"] if moment not in plain]
        assert all(moment > last - 2000 for moment in lost)

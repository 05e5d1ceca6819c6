"""The program of test_kills.py: URL. It records and says what, until it is killed."""

from __future__ import annotations

import sys
import time

from iotio import IoTManager
from iotio.core.storage.contract import Run
from iotio.endpoints import IntegerEndpoint
from iotio.history.recorder import Recorder

manager = IoTManager(history=sys.argv[1])
recorder = manager.history.sink
assert isinstance(recorder, Recorder)
recorder.apart = None  # this store has durable messages, too
durable, plain = IntegerEndpoint("durable", ""), IntegerEndpoint("plain", "")
writer = manager.history._own  # type: ignore[attr-defined]  # in the place of the store of durable messages

while True:
    now = time.time_ns() // 1_000_000
    recorder.record("kitchen", plain, [(now, 1)])
    print("plain", now, flush=True)
    # A durable message, which is acknowledged when it is written.
    writer.submit(Run(recorder.record_durably("kitchen", durable, [(now, 1)]))).wait(30)
    print("durable", now, flush=True)
    time.sleep(0.11)  # ten a second are kept

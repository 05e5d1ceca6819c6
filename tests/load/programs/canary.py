"""A device that has itself echoed all the time: `canary.py PORT`; "stop" on standard input ends it.

In a process of its own, so that it measures the server and not the test. Prints `ready`, and at the end the number
of echoes and the longest in seconds, as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.load.harness import Device


def main() -> None:
    """Echo until told to stop."""
    stop = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.readline()
        stop.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    count, longest = 0, 0.0
    with Device(int(sys.argv[1]), "canary", timeout=30) as device:
        device.echo("first")
        print("ready", flush=True)
        while not stop.is_set():
            count += 1
            longest = max(longest, device.echo(count))
            time.sleep(0.005)
        device.send_close()
    print(json.dumps({"echoes": count, "longest": longest, "end": "fine"}), flush=True)


if __name__ == "__main__":
    main()

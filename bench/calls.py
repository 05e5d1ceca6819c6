"""How long a call takes, beside a request by NATS in the same run.

    python -m bench.calls

One caller, one call after the other, an `async def` handler that returns its 32 bytes. Ours are a native server and a
device, in both directions; NATS has its server, a responder and a requester by nats-py. All of them on uvloop. The two
take turns; what is printed are medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack
from statistics import median, quantiles

from bench.measure import Running, choose_cores
from bench.servers import MADE, PINS, PROGRAMS, Launch
from scripts.tools.environments import SetupError, compiled_environment, digest, ensure_environment, main_interpreter

IN_TIME = 300  # seconds for one round of a caller

Times = dict[str, list[float]]


def iotio(python: str, count: int) -> Times:
    """One round of ours."""
    program = str(PROGRAMS / "call_iotio.py")
    with Running(Launch((python, program, "server", "PORT"), {}), choose_cores()) as server:
        return _caller([python, program, "caller", str(server.port), str(count)])


def nats(python: str, count: int) -> Times:
    """One round of NATS."""
    program = str(PROGRAMS / "peers" / "call_nats.py")
    with ExitStack() as stack:
        server = stack.enter_context(Running(Launch((python, program, "server", "PORT"), {}), choose_cores()))
        responder = stack.enter_context(
            subprocess.Popen([python, program, "responder", str(server.port)], stdout=subprocess.PIPE, text=True)
        )
        stack.callback(responder.kill)
        assert responder.stdout is not None
        responder.stdout.readline()
        return _caller([python, program, "caller", str(server.port), str(count)])


def _caller(command: list[str]) -> Times:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=IN_TIME)
    times: Times = json.loads(done.stdout)
    return times


def main() -> int:
    """Run it; the exit status is 1 if ours is slower."""
    parser = argparse.ArgumentParser(prog="python -m bench.calls", description="How long a call takes, beside NATS.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--count", type=int, default=5000, help="calls of each kind in a round (default 5000)")
    options = parser.parse_args()
    pins = PINS / "nats.txt"
    try:
        ours = str(compiled_environment())
        theirs = str(
            ensure_environment(MADE / "nats", main_interpreter(), ["--no-deps", "-r", str(pins)], stamp=digest(pins))
        )
    except SetupError as error:
        print(f"bench.calls: {error}", file=sys.stderr)
        return 1
    found: dict[str, list[list[float]]] = {}
    for _ in range(options.rounds):
        for name, times in (("iotio", iotio(ours, options.count)), ("NATS", nats(theirs, options.count))):
            for kind, values in times.items():
                found.setdefault(f"{name}, {kind}", []).append(values)
    print("| one caller, microseconds | p50 | p99 | p50 of the rounds |\n| --- | --- | --- | --- |")
    middle = {}
    for name, rounds in found.items():
        halves = [median(times) * 1e6 for times in rounds]
        tails = [quantiles(times, n=100)[98] * 1e6 for times in rounds]
        middle[name] = median(halves)
        print(f"| {name} | {median(halves):.0f} | {median(tails):.0f} | {', '.join(f'{one:.0f}' for one in halves)} |")
    request = middle["NATS, request"]
    slowest = max(value for name, value in middle.items() if name.startswith("iotio"))
    print(f"p50 of the slower direction is {slowest / request:.2f} of that of NATS")
    return 0 if slowest <= request else 1


if __name__ == "__main__":
    sys.exit(main())

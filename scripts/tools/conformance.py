"""Run Autobahn, the WebSocket conformance suite, against each host with a session that echoes.

Makes an environment of Python 2.7 for it on the first run. Where the machine has no Python 2.7 it says so and
ends with status 0. Status 1: a case failed, or the suite did not run.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.tools import autobahn
from scripts.tools.environments import ROOT, SetupError, project_environment, say

HOSTS = ("native", "asgi", "gevent", "threaded")
ECHO_SERVER = ROOT / "tests" / "conformance" / "echo_server.py"
"""Called with HOST PORT it listens on 127.0.0.1 (0: a free port), prints "ready PORT" and serves."""

REPORTS = ROOT / "reports" / "autobahn"
"""The server's log, wstest's log and a page for each case, for each host."""

READY_SECONDS = 30.0
STOP_SECONDS = 10.0


@contextlib.contextmanager
def echo_server(python: Path, host: str, log: Path) -> Iterator[int]:
    """Run the echo server on one of the hosts, and give its port. What it logs goes to `log`.

    Raises:
        SetupError: it was not ready in time.
    """
    command = [str(python), "-u", str(ECHO_SERVER), host, "0"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
        )
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield _ready_port(lines, host, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(STOP_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def _ready_port(lines: queue.Queue[str], host: str, log: Path) -> int:
    while True:
        try:
            line = lines.get(timeout=READY_SECONDS)
        except queue.Empty:
            raise SetupError(f"the {host} echo server was not ready within {READY_SECONDS:.0f} s") from None
        if not line:
            raise SetupError(f"the {host} echo server ended before it was ready:\n{log.read_text()}")
        word, _, port = line.strip().partition(" ")
        if word == "ready":
            return int(port)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    parser.add_argument("--host", choices=HOSTS, action="append", help="only this host (may be repeated)")
    parser.add_argument("--url", help="a running echo server instead, such as ws://127.0.0.1:9001/")
    parser.add_argument("--case", action="append", help="only these cases, such as 6.4.* (may be repeated)")
    parser.add_argument("--require", action="store_true", help="a missing Python 2.7 is an error (status 1)")
    options = parser.parse_args(arguments)
    cases = options.case or autobahn.CASES
    try:
        program = autobahn.wstest()
        if options.url:
            return int(not judge(program, "server", options.url, cases))
        python = project_environment("test")
        passed = True
        for host in options.host or HOSTS:
            with echo_server(python, host, REPORTS / host / "server.log") as port:
                passed &= judge(program, host, f"ws://127.0.0.1:{port}/", cases)
    except autobahn.AutobahnUnavailable as reason:
        print(f"scripts/conformance: not run: {reason}")
        return int(options.require)
    except SetupError as error:
        print(f"scripts/conformance: {error}", file=sys.stderr)
        return 1
    return int(not passed)


def judge(program: Path, name: str, url: str, cases: Sequence[str]) -> bool:
    """Run the cases against one server and print the table; whether none failed."""
    say(f"Autobahn against {name}")
    results = autobahn.run(program, url, name, REPORTS / name, cases)
    print(autobahn.table(name, results), flush=True)
    if not results:
        raise SetupError(f"no case fits {' '.join(cases)}")
    return not any(case.verdict == "FAILED" for case in results)


if __name__ == "__main__":
    sys.exit(main())

"""Autobahn, the WebSocket conformance suite: its environment, a run against a server, and what came of it.

The suite runs on Python 2.7 only. Standard library only.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.tools.environments import (
    ROOT,
    Interpreter,
    Say,
    SetupError,
    digest,
    ensure_environment,
    interpreter,
    main_interpreter,
    pip_install,
    say,
)

PINS = Path(__file__).with_name("autobahn.txt")
VIRTUALENV = "virtualenv==20.15.1"
"""The last but few that can make an environment of Python 2.7; it runs on the newest Pythons too."""

CASES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
"""All but 9 (speed and large messages) and 12 and 13 (compression, which no host offers)."""

RUN_SECONDS = 300
"""The 238 cases take about 12 s; a server that answers none of them, some minutes."""

PASSED = frozenset({"OK", "NON-STRICT", "INFORMATIONAL"})


REASONS = {
    "6.4.3": "UTF-8 is checked when a frame is whole, not while it arrives; its size has a limit",
    "6.4.4": "as 6.4.3",
    "7.1.6": "a CLOSE right behind a long message: the RFC leaves open what becomes of the message",
    "7.13.1": "close code 5000: the RFC says nothing about it; here it is a violation, answered with 1002",
    "7.13.2": "close code 65535: as 7.13.1",
}
"""Why a case is not plainly OK on our hosts. A NON-STRICT case that is not here fails the test."""

_FAILED_FIRST = "the foreign server fails the connection before the application could answer the message before it"
REASONS_OF = {
    "asgi": dict.fromkeys(
        ("3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"), _FAILED_FIRST
    )
}
"""The same for single hosts, beside REASONS. On "asgi" the frames are the business of uvicorn and wsproto."""


def reasons(host: str) -> dict[str, str]:
    """Why cases are not plainly OK on this host, by case number."""
    return {**REASONS, **REASONS_OF.get(host, {})}


class AutobahnUnavailable(Exception):
    """This machine has no Python 2.7; the text is the reason for a skip."""


@dataclass(frozen=True, slots=True)
class Case:
    """What Autobahn found in one case.

    Attributes:
        number: such as "6.4.2".
        behavior: OK, NON-STRICT, INFORMATIONAL, UNIMPLEMENTED or FAILED.
        closing: the same for the end of the connection; also UNCLEAN or WRONG CODE.
        reason: ours (`reasons`), else Autobahn's own sentence about it.
    """

    number: str
    behavior: str
    closing: str
    reason: str

    @property
    def verdict(self) -> str:
        """The worse of both, FAILED for everything that is no pass."""
        both = {self.behavior, self.closing}
        if not both <= PASSED:
            return "FAILED"
        return next(verdict for verdict in ("NON-STRICT", "INFORMATIONAL", "OK") if verdict in both)


def base_interpreter() -> Interpreter:
    """Find the Python 2.7 of this machine.

    Raises:
        AutobahnUnavailable: it has none.
    """
    found = interpreter((2, 7))
    if found is None:
        raise AutobahnUnavailable("Autobahn needs a Python 2.7, and none was found here")
    return found


def wstest(tell: Say = say) -> Path:
    """Return the program wstest, installed on the first call.

    Raises:
        AutobahnUnavailable: there is no Python 2.7.
        SetupError: it could not be installed.
    """
    old = base_interpreter()
    maker = ensure_environment(
        ROOT / ".peers" / "virtualenv", main_interpreter(), [VIRTUALENV], stamp=VIRTUALENV, tell=tell
    )
    folder = ROOT / ".peers" / "autobahn"
    stamp, wanted = folder / "packages.stamp", digest(old.name, VIRTUALENV, PINS)
    program = folder / "bin" / "wstest"
    if not (program.exists() and stamp.exists() and stamp.read_text() == wanted):
        tell(f"making .peers/autobahn with Python {old.name}")
        command = [str(maker), "-m", "virtualenv", "--quiet", "--clear", "-p", str(old.path), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SetupError(f"virtualenv could not make {folder}:\n{done.stdout}{done.stderr}")
        pip_install(folder / "bin" / "python", ["-r", str(PINS)], where=folder, tell=tell)
        stamp.write_text(wanted)
    return program


def run(program: Path, url: str, name: str, folder: Path, cases: Sequence[str] = CASES) -> list[Case]:
    """Run the cases against the server at `url`.

    Args:
        program: wstest.
        url: such as "ws://127.0.0.1:9001/".
        name: of the server, in the report.
        folder: where the report goes; wstest writes one HTML page for each case there.
        cases: patterns of case numbers.

    Raises:
        SetupError: the suite did not run to its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.json"
    index.unlink(missing_ok=True)
    spec = folder / "spec.json"
    spec.write_text(
        json.dumps(
            {
                "outdir": str(folder),
                "servers": [{"agent": name, "url": url}],
                "cases": list(cases),
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
        )
    )
    command = [str(program), "-m", "fuzzingclient", "-s", str(spec)]
    with (folder / "wstest.log").open("w") as log:
        try:
            status = subprocess.run(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, timeout=RUN_SECONDS
            ).returncode
        except subprocess.TimeoutExpired:
            raise SetupError(f"wstest did not end within {RUN_SECONDS} s; see {folder}/wstest.log") from None
    if status or not index.exists():
        raise SetupError(f"wstest ended with status {status}; see {folder}/wstest.log")
    return read_report(index, name)


def read_report(index: Path, name: str) -> list[Case]:
    """Read the results in an index.json of wstest, by case number."""
    results = json.loads(index.read_text())[name]
    found = []
    for number, result in results.items():
        details = json.loads((index.parent / result["reportfile"]).read_text())
        closing_matters = result["behaviorClose"] != "OK" and result["behavior"] in (
            "OK",
            result["behaviorClose"],
        )
        sentence = details["resultClose"] if closing_matters else details["result"]
        reason = reasons(name).get(number) or " ".join(sentence.split())
        found.append(Case(number, result["behavior"], result["behaviorClose"], reason))
    return sorted(found, key=lambda case: [int(part) for part in case.number.split(".")])


def table(name: str, cases: Sequence[Case]) -> str:
    """Write the result for people: the counts, then each case that is not plainly OK with its reason."""
    counts = Counter(case.verdict for case in cases)
    verdicts = ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED")
    lines = [f"{name}: {len(cases)} cases: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in verdicts)]
    for case in cases:
        if case.verdict != "OK":
            lines.append(f"  {case.number:<8} {case.verdict:<14} {case.reason}")
    return "\n".join(lines)

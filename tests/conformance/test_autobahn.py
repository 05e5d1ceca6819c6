"""Autobahn against each host. scripts/conformance prints the same as a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scripts.tools import autobahn
from scripts.tools.conformance import ECHO_SERVER, HOSTS, echo_server

pytestmark = pytest.mark.conformance


@pytest.mark.timeout(autobahn.RUN_SECONDS + 120)
@pytest.mark.parametrize("host", HOSTS)
def test_no_case_fails(host: str, tmp_path: Path) -> None:
    try:
        program = autobahn.wstest()
    except autobahn.AutobahnUnavailable as reason:
        pytest.skip(str(reason))
    assert ECHO_SERVER.exists()
    with echo_server(Path(sys.executable), host, tmp_path / "server.log") as port:
        cases = autobahn.run(program, f"ws://127.0.0.1:{port}/", host, tmp_path)
    print(autobahn.table(host, cases))
    assert len(cases) > 200
    failed = [case for case in cases if case.verdict == "FAILED"]
    assert not failed, autobahn.table(host, failed)
    unexplained = [case for case in cases if case.verdict == "NON-STRICT" and case.number not in autobahn.reasons(host)]
    assert not unexplained, autobahn.table(host, unexplained)


def test_report_is_read(tmp_path: Path) -> None:
    reports = {
        "1.1.10": ("OK", "OK", "as expected", "closed cleanly"),
        "1.1.2": ("NON-STRICT", "OK", "late", "closed cleanly"),
        "7.1.1": ("OK", "UNCLEAN", "as expected", "no\n close"),
        "7.13.1": ("INFORMATIONAL", "INFORMATIONAL", "so it did", "so it closed"),
    }
    index = {}
    for number, (behavior, closing, result, result_close) in reports.items():
        file = f"{number}.json"
        (tmp_path / file).write_text(json.dumps({"result": result, "resultClose": result_close}))
        index[number] = {"behavior": behavior, "behaviorClose": closing, "reportfile": file}
    (tmp_path / "index.json").write_text(json.dumps({"ours": index}))
    cases = autobahn.read_report(tmp_path / "index.json", "ours")
    assert [(case.number, case.verdict, case.reason) for case in cases] == [
        ("1.1.2", "NON-STRICT", "late"),
        ("1.1.10", "OK", "as expected"),
        ("7.1.1", "FAILED", "no close"),
        ("7.13.1", "INFORMATIONAL", autobahn.REASONS["7.13.1"]),
    ]
    assert autobahn.table("ours", cases).splitlines()[0] == (
        "ours: 4 cases: 1 OK, 1 NON-STRICT, 1 INFORMATIONAL, 1 FAILED"
    )

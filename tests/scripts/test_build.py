"""scripts/build: which Pythons it takes, and what it says. What it makes is in test_distributions.py."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from scripts.tools import build
from scripts.tools.environments import ROOT, Interpreter, SetupError, interpreters
from tests.support.processes import Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it makes wheels for Linux, on Linux")

STUCK = (
    "import sys; from pathlib import Path; from scripts.tools import build; "
    "build.pythons = build.project_environment = lambda _: sys.executable; "
    """build.make_all = lambda *_: build._run([sys.executable, "-c", "import time; time.sleep(60)"], "stuck step"); """
    "build.ALIVE_SECONDS = 0.1; sys.exit(build.main(['--out', sys.argv[1]]))"
)


def test_every_python_that_can_compile_gets_a_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "can_compile", lambda base: True)
    assert build.pythons([]) == [one for one in interpreters() if one.minor >= (3, 11)]
    main = "{}.{}".format(*sys.version_info)
    assert [one.version for one in build.pythons([main])] == [sys.version_info[:3]]


def test_a_python_without_headers_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with_headers, without = (Interpreter(Path(f"/{name}"), (3, name, 1)) for name in (12, 13))
    monkeypatch.setattr(build, "interpreters", lambda: (with_headers, without))
    monkeypatch.setattr(build, "can_compile", lambda base: base is with_headers)
    assert build.pythons([]) == [with_headers]
    assert capfd.readouterr().err == "-- no wheels for Python 3.13.1, which has no Python.h\n"
    with pytest.raises(SetupError, match=r"for Python 3\.13\.1: a C compiler named cc is missing.*apt install build-"):
        build.pythons(["3.13"])


def test_a_python_that_is_not_here_is_told() -> None:
    with pytest.raises(SetupError, match=r"no Python 3\.98 and no 3\.99 was found here; there is 3\."):
        build.pythons(["3.98", "3.99"])


def test_a_step_that_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(SetupError, match=r"the wheel could not be made\. It said at the end:\nthe reason\n"):
        build._run([sys.executable, "-c", "print('the reason'); exit(3)"], "wheel")


def test_a_failure_is_status_1(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert build.main(["3.99"]) == 1
    assert capfd.readouterr().err.startswith("scripts/build: no Python 3.99 was found here; ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_its_step_and_leaves_what_was_there(number: signal.Signals, tmp_path: Path) -> None:
    kept = tmp_path / "kept.whl"
    kept.touch()
    with Program([sys.executable, "-c", STUCK, str(tmp_path)], folder=ROOT) as running:
        running.wait_line("-- stuck step")
        running.wait_line("--   0 s")  # it lives
        (child,) = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        running.signal(number)
        assert running.wait() == 130
        assert running.lines[-1] == f"-- stopped; {tmp_path} is as it was"
    with pytest.raises(ProcessLookupError):
        os.kill(int(child), 0)
    assert kept.exists()

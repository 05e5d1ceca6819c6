"""How much of a module its own tests run, measured on a project of a few lines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("coverage", reason="coverage comes with the extra test")

from scripts.tools.coverage import Figure, main, measure, report

SOURCE = """
import _thread, subprocess, sys, threading

def called():
    return 1

def in_a_thread(done):
    done.set()

def in_a_bare_thread(done):
    done.set()

def in_another_process():
    return 2

def never():
    return 3
"""
LINES = SOURCE.splitlines()

TESTS = """
import _thread, subprocess, sys, threading
import small

def test_call():
    assert small.called() == 1

def test_threads():
    done = threading.Event(), threading.Event()
    threading.Thread(target=small.in_a_thread, args=done[:1]).start()
    _thread.start_new_thread(small.in_a_bare_thread, done[1:])
    assert all(one.wait(10) for one in done)

def test_process():
    subprocess.run([sys.executable, "-c", "import os, small; small.in_another_process(); os._exit(0)"], check=True)
"""


@pytest.fixture(autouse=True)
def _no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start pytest without what its plugins take to load."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def not_run(tmp_path: Path, text: str) -> tuple[Figure, list[str]]:
    """Measure the small module by this test file; the figure, and the names of the functions that it does not run."""
    (tmp_path / "src").mkdir()
    source, tests = tmp_path / "src" / "small.py", tmp_path / "test_small.py"
    source.write_text(SOURCE)
    tests.write_text(text)
    figure = measure(Path(sys.executable), "small", source, tests, tmp_path)
    return figure, [LINES[line - 2].removeprefix("def ").partition("(")[0] for line in figure.missing]


def test_threads_and_processes_of_its_tests_count(tmp_path: Path) -> None:
    figure, missing = not_run(tmp_path, TESTS)
    assert (figure.lines, figure.failed) == (11, False)
    assert missing == ["never"]


def test_a_test_that_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure, missing = not_run(tmp_path, "import small\ndef test_call():\n    assert small.called() == 2")
    assert figure.failed
    assert "called" not in missing
    assert "small (a test failed)" in str(figure)
    assert "1 failed" in capsys.readouterr().err


def test_a_module_that_is_not_imported_is_not_run(tmp_path: Path) -> None:
    figure, _ = not_run(tmp_path, "def test_nothing(): pass\n")
    assert (figure.share, figure.failed) == (0, False)


def test_those_below_the_limit_are_named_the_worst_first(capsys: pytest.CaptureFixture[str]) -> None:
    figures = [
        Figure("half", 4, (1, 3)),
        Figure("seventy", 10, (1, 2, 3)),
        Figure("full", 3, ()),
        Figure("empty", 0, ()),
        Figure("less", 10, (1, 2, 3, 7, 9, 10)),
    ]
    assert report(figures) == 1
    assert capsys.readouterr().out == "  40 %  less; not run: 1-3, 7, 9-10\n  50 %  half; not run: 1, 3\n"
    assert report(figures[1:4]) == 0
    assert capsys.readouterr().out == ""
    assert report(figures[1:4], everything=True) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_an_unknown_module_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["iotio.core.nosuch", "iotio.core.lane"])
    assert "no such module, or one that needs no test file: iotio.core.nosuch\n" in capsys.readouterr().err

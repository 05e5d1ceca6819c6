"""What scripts/test runs for each of its options; pytest itself is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from scripts.tools import test as command
from scripts.tools.environments import ROOT

PYTHON = Path("/python")

Ran = tuple[Path, tuple[str, ...], str | None]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Ran]]:
    """Python, arguments and IOTIO_FULL of each run of pytest."""
    found: list[Ran] = []

    def pytest_(python: Path, name: str, arguments: Sequence[str], output: object = None) -> int:
        found.append((python, tuple(arguments), os.environ.get(command.FULL)))
        return 0

    monkeypatch.delenv(command.FULL, raising=False)
    monkeypatch.setattr(command, "pytest", pytest_)
    monkeypatch.setattr(command, "project_environment", lambda layer: PYTHON)
    monkeypatch.setattr(command, "prepare", lambda: (Path("/compiled"), [("other", PYTHON)]))
    yield found
    os.environ.pop(command.FULL, None)


def test_quick_runs_the_quick_tests_on_the_plain_sources(ran: list[Ran]) -> None:
    assert command.main(["--quick"]) == 0
    assert len(ran) == 4
    for python, arguments, full in ran:
        assert python == PYTHON
        assert arguments[:4] == ("-m", command.QUICK, "-k", command.OTHER_HOSTS)
        assert full is None


def test_the_parts_of_a_quick_run_are_the_whole(ran: list[Ran]) -> None:
    assert command.main(["--quick"]) == 0
    parts = [chosen(arguments) for _, arguments, _ in ran]
    files = {path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(path for part in parts for path in part) == sorted(files)
    assert all(len(part) > 10 for part in parts)


def chosen(arguments: Sequence[str]) -> set[Path]:
    """The files of tests that pytest finds with these arguments."""
    left_out = [Path(one.removeprefix("--ignore=")) for one in arguments if one.startswith("--ignore=")]
    folders = [one for one in arguments if one.startswith("tests/")] or ["tests"]
    found = (path.relative_to(ROOT) for one in folders for path in (ROOT / one).rglob("test_*.py"))
    return {path for path in found if not any(path.is_relative_to(folder) for folder in left_out)}


def test_full_runs_everything_with_the_long_forms(ran: list[Ran]) -> None:
    assert command.main([]) == 0
    without = sorted(arguments for _, arguments, _ in ran)
    assert {full for _, _, full in ran} == {None}
    ran.clear()
    assert command.main(["--full"]) == 0
    assert sorted(arguments for _, arguments, _ in ran) == without
    assert {full for _, _, full in ran} == {"1"}

"""What scripts/test runs for each of its options; pytest itself is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from scripts.tools import test as command

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
    assert len(ran) == 2
    for python, arguments, full in ran:
        assert python == PYTHON
        assert arguments[:4] == ("-m", command.QUICK, "-k", command.OTHER_HOSTS)
        assert full is None
    assert sorted("--ignore" in arguments for _, arguments, _ in ran) == [False, True]


def test_full_runs_everything_with_the_long_forms(ran: list[Ran]) -> None:
    assert command.main([]) == 0
    without = sorted(arguments for _, arguments, _ in ran)
    assert {full for _, _, full in ran} == {None}
    ran.clear()
    assert command.main(["--full"]) == 0
    assert sorted(arguments for _, arguments, _ in ran) == without
    assert {full for _, _, full in ran} == {"1"}

"""How the scripts find Pythons and make environments; without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.tools import environments
from scripts.tools.environments import (
    OLDEST,
    ROOT,
    Interpreter,
    SetupError,
    digest,
    ensure_environment,
    interpreter,
    main_interpreter,
)

INSTALLED_ALREADY = ["--no-index", "pip"]
NOWHERE = ["--no-index", "no-such-package-anywhere"]


def test_the_oldest_python_is_that_of_the_project() -> None:
    wanted = 'requires-python = ">={}.{}"'.format(*OLDEST)
    assert wanted in (ROOT / "pyproject.toml").read_text().splitlines()


def test_the_main_python_is_the_one_that_runs() -> None:
    assert main_interpreter().version == sys.version_info[:3]


def test_a_python_that_is_not_there() -> None:
    assert interpreter((2, 0), (99, 0)) is None


def test_digest_tells_parts_apart(tmp_path: Path) -> None:
    file = tmp_path / "pins"
    file.write_text("ab")
    assert digest("ab", "c") != digest("a", "bc")
    assert digest(file) == digest("ab")


@pytest.mark.slow
def test_an_environment_is_made_once(tmp_path: Path) -> None:
    told: list[str] = []
    folder = tmp_path / "environment"
    base = main_interpreter()

    def ensure(stamp: str, *steps: list[str]) -> Path:
        told.clear()
        return ensure_environment(folder, base, *steps, stamp=stamp, tell=told.append)

    python = ensure("one", INSTALLED_ALREADY)
    version = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True)
    assert version.stdout.strip() == str(folder)
    assert told[0] == f"making {folder} with Python {base.name}"

    assert ensure("one", NOWHERE) == python
    assert told == []

    ensure("two", INSTALLED_ALREADY)
    assert told
    assert "making" not in told[0]

    with pytest.raises(SetupError, match="is this machine online"):
        ensure("three", NOWHERE)
    with pytest.raises(SetupError):
        ensure("three", NOWHERE)


def test_a_python_without_venv_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no venv here' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(SetupError, match="no venv here"):
        ensure_environment(tmp_path / "environment", Interpreter(broken, (3, 11, 0)), stamp="x")


def test_an_interpreter_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "python3.99"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    assert environments._probe(broken) is None


@pytest.mark.parametrize("name", ["build", "demo", "test", "check", "coverage", "docs", "conformance"])
def test_each_command_has_help(name: str) -> None:
    done = subprocess.run([ROOT / "scripts" / name, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"usage: scripts/{name}" in done.stdout


def test_a_wrong_python_is_told() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "demo"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHON": "/no/such/python"},
    )
    assert done.returncode == 1
    assert done.stderr == "PYTHON=/no/such/python is no Python 3.11 or newer with venv and pip.\n"


def test_no_python_is_told(tmp_path: Path) -> None:
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    done = subprocess.run(
        [ROOT / "scripts" / "demo"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "found none" in done.stderr
    assert "apt install python3" in done.stderr

"""How tests get programs of Debian packages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from scripts.tools import debian
from scripts.tools.debian import Tool, ToolUnavailable, tool


def script(folder: Path, name: str, text: str) -> Path:
    """A shell program."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(debian, "SYSTEM", "")
    return folder


def test_an_installed_program_is_taken_as_it_is(path: Path, tmp_path: Path) -> None:
    program = script(path, "second", "exit 0")
    assert tool("package", "first", "second", made=tmp_path / "made") == Tool(program, {})
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("there", [[], ["apt-get"]])
def test_a_machine_without_the_tools_of_debian_is_told(path: Path, tmp_path: Path, there: list[str]) -> None:
    for name in there:
        script(path, name, "exit 0")
    with pytest.raises(ToolUnavailable, match=r"gizmo is not installed, and without (apt-get|dpkg-deb)"):
        tool("gizmo", made=tmp_path / "made")


def test_a_failed_download_is_told_and_leaves_nothing_that_counts(path: Path, tmp_path: Path) -> None:
    script(path, "apt-get", "echo 'E: Temporary failure resolving' >&2; exit 100")
    script(path, "dpkg-deb", "exit 0")
    for _ in range(2):
        with pytest.raises(ToolUnavailable, match="apt-get could not get its package: E: Temporary failure"):
            tool("gizmo", made=tmp_path / "made", tell=lambda text: None)
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["gizmo.lock"]


def test_a_package_without_the_program_is_told(path: Path, tmp_path: Path) -> None:
    (tmp_path / "made" / "gizmo").mkdir(parents=True)
    with pytest.raises(ToolUnavailable, match="the Debian package gizmo has no program gizmo or gadget"):
        tool("gizmo", "gizmo", "gadget", made=tmp_path / "made")


def test_an_unpacked_program_is_not_downloaded_again(path: Path, tmp_path: Path) -> None:
    root = tmp_path / "made" / "gizmo"
    program = script(root / "usr" / "sbin", "gizmo", "exit 0")
    library = root / "usr" / "lib" / "triplet" / "libgizmo.so.1"
    library.parent.mkdir(parents=True)
    library.touch()
    found = tool("gizmo", made=tmp_path / "made")
    assert found.path == program
    assert found.environment["LD_LIBRARY_PATH"].split(os.pathsep)[0] == str(library.parent)
    assert str(program.parent) in found.environment["PATH"].split(os.pathsep)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "names", "option"),
    [
        ("iptables", ("iptables", "iptables-nft"), "--version"),
        ("haproxy", ("haproxy",), "-v"),
        ("nginx-light", ("nginx",), "-v"),
    ],
)
def test_programs_of_debian_run(package: str, names: tuple[str, ...], option: str) -> None:
    try:
        found = tool(package, *names)
    except ToolUnavailable as reason:
        pytest.skip(str(reason))
    done = subprocess.run(
        [found.path, option], capture_output=True, text=True, timeout=20, env={**os.environ, **found.environment}
    )
    assert done.returncode == 0, done.stderr
    assert names[0] in (done.stdout + done.stderr).lower()

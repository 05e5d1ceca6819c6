"""`iotio new`: write a project that runs."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import click

from .. import __version__
from .target import Failure, Misuse

__all__ = ["write_project"]

_TEXTS = Path(__file__).with_name("new_project")
"""The files of the project, each with .txt behind its name: no tool shall take them for ours.

In names and texts @NAME@ stands for the project's name, @VERSION@ for our version.
"""

_NAME = re.compile(r"[a-z]([a-z0-9_-]{0,29}[a-z0-9])?")
_RULE = "take at most 31 of a-z, 0-9, - and _, a letter first, and a letter or digit last"
"""What pip takes as the name of a project, and useradd as that of the user whom the service runs as."""

_NEEDED = ("flask", "iotio", "iotio-client", "mypy", "pytest")


def write_project(name: str) -> None:
    """Write a project to a new or empty folder, and say what to do next.

    Args:
        name: of the folder, which is that of the project; "." for the current one.

    Raises:
        Misuse: no project can have this name.
        Failure: the folder is not empty, or cannot be written.
    """
    folder = Path(name)
    made: list[Path] = []
    try:
        project = Path.cwd().name if name == "." else name
        _check_name(project)
        files = _files(project)
        _check_empty(folder, {path.parts[0] for path in files})
        for path, text in files.items():
            _write(folder / path, text, made)
    except BaseException as error:
        _remove(made)
        if isinstance(error, OSError):
            raise Failure(f"{error.filename or folder} cannot be written: {error.strerror}") from error
        raise
    click.echo(f"{project} is written: a server, a lamp, a page and a test. The lamp needs a terminal of its own:\n")
    way_there = [] if name == "." else [f"cd {name}"]
    for command in [*way_there, "iotio run server.py", "python device.py"]:
        click.echo(f"  {command}")
    click.echo("\nThen open http://localhost:5000. README.md has all else.")


def _check_name(project: str) -> None:
    if not _NAME.fullmatch(project):
        raise Misuse(f"{project!r} cannot be the name of a project: {_RULE}")
    if project.replace("_", "-") in _NEEDED:
        raise Misuse(f"{project!r} cannot be the name of a project: it is that of a package which the project needs")


def _files(project: str) -> dict[Path, str]:
    """Return the texts of a project's files by their paths in it."""
    found = {}
    for text in sorted(_TEXTS.rglob("*.txt")):
        path = text.relative_to(_TEXTS).as_posix().removesuffix(".txt").replace("@NAME@", project)
        content = text.read_text(encoding="utf-8")
        found[Path(path)] = content.replace("@NAME@", project).replace("@VERSION@", __version__)
    return found


def _check_empty(folder: Path, names: set[str]) -> None:
    """Raise a Failure if there is more in a folder than a virtual environment and hidden files of other names."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise Failure(f"{folder} exists and is no folder; nothing is written")
    for entry in sorted(folder.iterdir(), key=lambda entry: (entry.name.startswith("."), entry.name)):
        if entry.name in names or not (entry.name.startswith(".") or (entry / "pyvenv.cfg").exists()):
            where = "this folder" if folder == Path() else folder
            raise Failure(f"{where} is not empty, it has {entry.name}; nothing is written")


def _write(path: Path, content: str, made: list[Path]) -> None:
    """Write a new file, and note it and each folder that was made for it."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir()
            made.append(folder)
    with path.open("x", encoding="utf-8", newline="\n") as file:
        made.append(path)
        file.write(content)


def _remove(made: list[Path]) -> None:
    """Remove what was made, the last first, as far as that is possible."""
    for path in reversed(made):
        with contextlib.suppress(OSError):
            (os.rmdir if path.is_dir() else os.unlink)(path)

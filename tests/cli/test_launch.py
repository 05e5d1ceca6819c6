"""`iotio run` up to the point where something is served: the module search path, and what `--reload` needs."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from iotio.cli.launch import run_target
from iotio.cli.target import Failure

from .test_settings import SETTINGS


@pytest.fixture(autouse=True)
def search_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in the folder of the program, with the module search path of a program that was started elsewhere."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", "/somewhere", *sys.path])


@pytest.mark.parametrize("reload", [False, True])
def test_modules_are_searched_in_the_current_folder_first(folder: Path, reload: bool) -> None:
    settings = dataclasses.replace(SETTINGS, target="no_such_module")
    with pytest.raises(Failure, match=r"^there is no module 'no_such_module' in "):
        run_target(settings, reload=reload)
    assert sys.path[:2] == [str(folder), "/somewhere"]


def test_reload_needs_a_target_that_is_there_before_it_listens(folder: Path) -> None:
    settings = dataclasses.replace(SETTINGS, target="no_such_file.py", port=1)  # which only root may listen on
    with pytest.raises(Failure, match=r"^there is no file no_such_file\.py in "):
        run_target(settings, reload=True)

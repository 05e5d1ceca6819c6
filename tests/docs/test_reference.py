"""The pages docs/reference/api-*.md have every public name, and the documentation is built without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import pytest

import iotio_client
from iotio.core.directory import Directory
from iotio.core.storage.recorder import StoreBackup, StoreExport
from scripts.tools.environments import ROOT

PAGES = {page.stem: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "reference").glob("api-*.md"))}
PINNED = (ROOT / "tests" / "public_api.txt").read_text(encoding="utf-8")
PINNED_NAMES = re.findall(r"^(?:async )?([\w.]+)", PINNED, re.MULTILINE)
ON_THE_MANAGER = {
    f"iotio.IoTManager.{name}": f"{kind.__module__}.{kind.__qualname__}"
    for name, kind in {"devices": Directory, "backup": StoreBackup, "export": StoreExport}.items()
}
DIRECTIVE = re.compile(r"^\.\. auto(?:class|exception|function):: ([\w.]+)\n((?: {3}.+\n)*)", re.MULTILINE)


def documented() -> set[str]:
    """The names that have a directive, and those of members with their class before them."""
    found = set()
    for page in PAGES.values():
        for name, options in DIRECTIVE.findall(page):
            members = options.partition(":members:")[2].partition(":undoc")[0]
            found |= {name, *(f"{name}.{member}" for member in re.findall(r"\w+", members))}
    return found


def test_each_pinned_name_is_there() -> None:
    wanted = set()
    for name in PINNED_NAMES:
        owner = next((one for one in ON_THE_MANAGER if name.startswith(f"{one}.")), None)
        wanted.add(name if owner is None else ON_THE_MANAGER[owner] + name.removeprefix(owner))
    assert len(wanted) > 150
    assert wanted - documented() == set()


def test_no_name_is_there_that_is_not_public() -> None:
    public = {*PINNED_NAMES, *ON_THE_MANAGER.values()}
    own = {one for one in documented() if not one.startswith(("iotio_client.", *ON_THE_MANAGER.values()))}
    assert own - public == set()


def test_each_name_of_the_clients_is_there() -> None:
    page = PAGES["api-client"]
    wanted = {f"iotio_client.{name}" for name in iotio_client.__all__ if not name.startswith("_")}
    assert {name for name in wanted if not re.search(rf"{re.escape(name)}\b", page)} == set()
    for client in (iotio_client.IoTClient, iotio_client.AsyncIoTClient):
        kinds = (property, cached_property)
        members = {
            name
            for one in client.__mro__
            if one.__module__.startswith("iotio_client")
            for name, value in vars(one).items()
            if not name.startswith("_") and (isinstance(value, kinds) or callable(value))
        }
        assert {f"iotio_client.{client.__name__}.{name}" for name in members} - documented() == set()


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    """As scripts/docs builds them."""
    pytest.importorskip("sphinx")
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run([*sphinx, ROOT / "docs", tmp_path], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    built = (tmp_path / "reference" / "api-server.html").read_text(encoding="utf-8")
    assert "Send an event to some devices, to a room, to a type" in built

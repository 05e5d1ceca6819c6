"""What the project says about itself."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.machinery import ExtensionFileLoader
from pathlib import Path

import pytest

import iotio
import iotio_client
import iotio_protocol
from scripts.tools.environments import ROOT

PROJECT, CLIENT = (
    tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in (ROOT / "pyproject.toml", ROOT / "client" / "pyproject.toml")
)


def test_one_version_everywhere() -> None:
    assert iotio.__version__ == iotio_client.__version__ == PROJECT["version"] == CLIENT["version"]
    assert f"iotio-client=={PROJECT['version']}" in PROJECT["dependencies"]
    assert f"{PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["iotio", "iotio_client", "iotio_protocol"])
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / "src" / package / "py.typed").exists()


def test_all_that_can_be_compiled_is_compiled_or_nothing() -> None:
    names = [".".join(types.relative_to(ROOT / "src").with_suffix("").parts) for types in (ROOT / "src").rglob("*.pxd")]
    compiled = {name for name in names if isinstance(import_module(name).__loader__, ExtensionFileLoader)}
    assert len(names) > 5
    assert compiled in (set(names), set())


def test_the_compiled_environment_runs_what_is_installed_there() -> None:
    """It borrows the packages of `.venv`, where this project leads to the sources."""
    if Path(sys.prefix) != ROOT / ".venv-compiled":
        pytest.skip("this is not the environment that scripts/test --compiled makes")
    for package in (iotio, iotio_client, iotio_protocol):
        assert Path(str(package.__file__)).is_relative_to(sys.prefix)


def test_the_client_brings_nothing_of_the_server() -> None:
    code = "import sys, iotio_client; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"flask", "werkzeug", "gevent", "geventwebsocket", "jinja2"} & set(loaded)

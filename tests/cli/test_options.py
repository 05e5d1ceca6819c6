"""Options by the command line and by environment variables."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from iotio.cli.options import exclude, option


@click.command()
@option("--some-file")
@option("--level", default="info")
@option("--log/--no-log", default=True)
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    exclude(context, options, "some_file", "level")
    click.echo(f"{options['some_file']} {options['level']} {options['log']}")


def said(arguments: str, **variables: str) -> str:
    return CliRunner().invoke(command, arguments.split(), env=variables).output.strip()


def test_a_variable_stands_for_an_option_and_the_command_line_goes_before() -> None:
    assert said("") == "None info True"
    assert said("", IOTIO_SOME_FILE="a", IOTIO_LOG="0") == "a info False"
    assert said("--some-file b --log", IOTIO_SOME_FILE="a", IOTIO_LOG="0") == "b info True"


@pytest.mark.parametrize(
    ("arguments", "variables", "line"),
    [
        ("--some-file a --level debug", {}, "Error: --some-file and --level exclude each other: leave one out"),
        (
            "",
            {"IOTIO_SOME_FILE": "a", "IOTIO_LEVEL": "debug"},
            "Error: IOTIO_SOME_FILE and IOTIO_LEVEL exclude each other: leave one out",
        ),
        ("--level debug", {"IOTIO_SOME_FILE": "a"}, "None debug True"),
        ("--some-file a", {"IOTIO_LEVEL": "debug"}, "a debug True"),
    ],
)
def test_options_that_exclude_each_other(arguments: str, variables: dict[str, str], line: str) -> None:
    assert said(arguments, **variables).splitlines()[-1] == line

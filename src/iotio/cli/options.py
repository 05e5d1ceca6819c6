"""Options of commands that environment variables can set, too. The command line goes before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

__all__ = ["exclude", "option"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def option(name: str, **settings: Any) -> Callable[[_Function], _Function]:
    """Add an option to a command, and its variable: `--log-level` is IOTIO_LOG_LEVEL.

    Args:
        name: of the option; for one of two words, such as `--log/--no-log`, the first counts.
        settings: as of `click.option`.
    """
    return click.option(name, envvar=_variable(name.partition("/")[0]), **settings)


def exclude(context: click.Context, options: dict[str, Any], one: str, *others: str) -> None:
    """Refuse an option beside others, if the same place says both; else the one of the environment is left out.

    Args:
        context: of the command.
        options: by their names in Python; `one` is set to None if it is left out.
        one: the option.
        others: what it excludes.

    Raises:
        Misuse: both are given.
    """
    from .target import Misuse

    if options[one] is None:
        return
    said = context.get_parameter_source(one)
    for other in others:
        other_said = context.get_parameter_source(other)
        if other_said in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT) and other_said is said:
            spell = _variable if said is ParameterSource.ENVIRONMENT else _spelled
            raise Misuse(f"{spell(one)} and {spell(other)} exclude each other: leave one out")
        if other_said is ParameterSource.COMMANDLINE:
            options[one] = None


def _variable(name: str) -> str:
    return f"IOTIO_{name.removeprefix('--').replace('-', '_').upper()}"


def _spelled(name: str) -> str:
    return f"--{name.replace('_', '-')}"

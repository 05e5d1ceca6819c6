"""What `iotio run` writes to the log, and how: its options, and what they do."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from iotio_protocol.logs import LINE_FORMAT

from .options import option
from .settings import Settings
from .target import Failure

__all__ = ["JsonFormatter", "configure", "log_options", "read_config"]

_LEVELS = ("debug", "info", "warning", "error", "critical")
_OPTIONS = (
    option(
        "--log-level",
        default="info",
        show_default=True,
        type=click.Choice(_LEVELS, case_sensitive=False),
        help="What to log: this and what is graver.",
    ),
    option(
        "--log-format",
        default="text",
        show_default=True,
        type=click.Choice(("text", "json")),
        help="A line of the log is a text, or one JSON object.",
    ),
    option(
        "--log-config",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="Configure logging by this file, for logging.config: dictConfig if it ends in .json, else fileConfig.",
    ),
    option("--access-log/--no-access-log", default=True, help="Log each HTTP request.  [default: log]"),
)


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options for its log; they are fields of `Settings`."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


def read_config(settings: Settings) -> None:
    """Configure logging by the file of `--log-config`, if there is one; before the program is loaded.

    Raises:
        Failure: it is no configuration.
    """
    path = settings.log_config
    if path is None:
        return
    try:
        if path.endswith(".json"):
            with open(path, encoding="utf-8") as file:
                logging.config.dictConfig({"disable_existing_loggers": False, **json.load(file)})
        else:
            logging.config.fileConfig(path, disable_existing_loggers=False)
    except Exception as error:  # it tells what is wrong by a dozen kinds
        cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
        raise Failure(f"{path} cannot be used to configure logging: {error}{cause}") from error


def configure(settings: Settings) -> None:
    """Log to stderr as the options say, unless the program or a file has configured logging."""
    if settings.log_config is not None:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else logging.Formatter(LINE_FORMAT))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


class JsonFormatter(logging.Formatter):
    """One JSON object for each line: `time` (UTC), `level`, `logger`, `message`, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object of a record, as one line of ASCII."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_text:
            line["exception"] = record.exc_text
        elif record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)

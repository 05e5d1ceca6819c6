"""Lines of the log that a peer has a part in."""

from __future__ import annotations

import ast
import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_protocol.logs import LINE_FORMAT, MAX_LINE, Duration, get_logger, safe

SOURCES = Path(__file__).resolve().parents[2] / "src"
FAKE = "\r\n2026-01-01 CRITICAL iotio.server: \x1b[31mfake\x9b0m\u2028\x85\t\x00\x7f\ud800"
SHOWN = r"\r\n2026-01-01 CRITICAL iotio.server: \x1b[31mfake\x9b0m\u2028\x85\t\x00\x7f\ud800"


class Sink:
    """What a handler of the program writes."""

    def __init__(self) -> None:
        self.logger = get_logger("iotio.test")
        self._stream = io.StringIO()
        self.handler = logging.StreamHandler(self._stream)
        self.handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        self.logger.addHandler(self.handler)
        self.logger.setLevel(logging.DEBUG)

    @property
    def lines(self) -> list[str]:
        """All lines, as a program that reads the file splits them."""
        return self._stream.getvalue().splitlines()


@pytest.fixture
def sink() -> Iterator[Sink]:
    found = Sink()
    yield found
    found.logger.removeHandler(found.handler)


@given(st.text(st.characters(exclude_categories=[])))
def test_a_safe_text_is_one_printable_line_that_a_file_can_have(text: str) -> None:
    line = safe(text)
    assert len(line.encode()) <= MAX_LINE
    assert len(line.splitlines()) <= 1
    assert safe(line) == line


@pytest.mark.parametrize("text", ["", "plain", "küche", "a\\nb", "x" * MAX_LINE, "漢" * (MAX_LINE // 3)])
def test_a_text_that_is_safe_is_left_as_it_is(text: str) -> None:
    assert safe(text) == text


@pytest.mark.parametrize("text", ["x" * (MAX_LINE + 1), "漢" * MAX_LINE, "\n" * MAX_LINE, "x" * 1_000_000])
def test_a_long_text_is_cut(text: str) -> None:
    assert safe(text).endswith("...")
    assert MAX_LINE - 6 < len(safe(text).encode()) <= MAX_LINE


def test_arguments_are_escaped(sink: Sink) -> None:
    sink.logger.warning("device %s sent %r", FAKE, FAKE)
    sink.logger.warning("failed: %s", ValueError(FAKE))
    assert sink.lines[0].startswith(f"WARNING iotio.test: device {SHOWN} sent ")
    assert sink.lines[1:] == [f"WARNING iotio.test: failed: {SHOWN}"]


def test_a_line_that_is_safe_keeps_its_parts(sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    sink.logger.warning("device %s", "d")
    assert (caplog.records[0].msg, caplog.records[0].args) == ("device %s", ("d",))


def test_what_is_wrong_in_itself_is_left_to_the_handler(sink: Sink) -> None:
    record = logging.makeLogRecord({"msg": "%d", "args": ("no number",)})
    assert sink.logger.filter(record)
    assert record.args == ("no number",)


def test_the_text_of_an_exception_is_escaped_and_its_traceback_kept(sink: Sink) -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError(FAKE) from error
    except ValueError:
        sink.logger.exception("handler %s failed", "on_x")
    lines = sink.lines
    assert lines[0] == "ERROR iotio.test: handler on_x failed"
    assert lines[1] == "Traceback (most recent call last):"
    assert "KeyError: 'first'" in lines
    assert lines[-1] == f"ValueError: {SHOWN}"
    assert [line for line in lines if line.startswith("2026")] == []


def test_so_is_that_of_one_before_it_and_in_a_group(sink: Sink) -> None:
    for error in (
        ExceptionGroup("several", [ValueError(FAKE), TypeError("x" * 5000)]),
        caused(ValueError("plain"), ValueError(FAKE)),
    ):
        sink.logger.error("failed", exc_info=error)
    assert sink.lines.count(f"ValueError: {SHOWN}") == 2
    assert max(map(len, sink.lines)) <= MAX_LINE


def caused(error: Exception, context: Exception) -> Exception:
    error.__context__ = context
    return error


def test_a_context_that_is_left_out_stays_out(sink: Sink) -> None:
    error = caused(ValueError(FAKE), KeyError("secret"))
    error.__cause__ = None  # as `from None`
    sink.logger.error("failed", exc_info=error)
    assert not [line for line in sink.lines if "secret" in line]


def test_a_usual_exception_is_formatted_by_the_program(sink: Sink) -> None:
    class Short(logging.Formatter):
        def formatException(self, ei: object) -> str:
            return "short"

    sink.handler.setFormatter(Short())
    sink.logger.error("failed", exc_info=ValueError("plain"))
    assert sink.lines == ["failed", "short"]


def test_all_loggers_are_made_here() -> None:
    """A filter holds for the logger that it is added to, not for those below it."""
    found = [
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "getLogger"
    ]
    others = {  # they turn to loggers of uvicorn, asyncio, Alembic, and servers of others
        "iotio/hosts/blocking/host_logs.py",
        "iotio/hosts/native/acceptor.py",
        "iotio/hosts/native/server.py",
        "iotio/store/schema.py",
    }
    assert set(found) == {"iotio_protocol/logs.py", *others}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (12.9, "12 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (4.3 * 86400, "4 d 7 h"),
    ],
)
def test_a_duration_is_told_in_words(seconds: float, words: str) -> None:
    assert str(Duration(seconds)) == words
    assert f"{Duration(seconds)!s}" == "%s" % Duration(seconds) == words  # noqa: UP031  # as logging does it


def said(program: str) -> str:
    """What a program of its own writes to stderr; nobody configures logging there but the program."""
    head = "import logging\nfrom iotio_protocol.logs import get_logger, show_lines\nlogger = get_logger('iotio.x')\n"
    done = subprocess.run([sys.executable, "-c", head + program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


def test_lines_are_shown_where_nobody_has_configured_logging() -> None:
    lines = said(
        "show_lines(); show_lines()\nlogger.info('one'); logger.debug('no'); logger.warning('two')"
    ).splitlines()
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", "", line) for line in lines] == [
        "INFO iotio.x: one",
        "WARNING iotio.x: two",
    ]
    assert LINE_FORMAT.startswith("%(asctime)s %(levelname)s ")


def test_a_stderr_that_nobody_reads_any_more_is_no_error_at_the_end() -> None:
    program = "import os, sys\nfrom iotio_protocol.logs import get_logger, show_lines\nshow_lines()\n"
    program += "sys.stdin.readline()\nfor _ in range(3): get_logger('iotio.x').info('line')\n"
    reading, writing = os.pipe()
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=writing, text=True) as process:
        os.close(reading)
        os.close(writing)
        process.communicate("go\n", timeout=30)
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("configuration", "shown"),
    [
        ("logging.getLogger('iotio').addHandler(logging.NullHandler())", ""),
        ("logging.getLogger('iotio').setLevel(logging.ERROR)", ""),
        ("logging.getLogger().addHandler(logging.NullHandler())", ""),
        ("logging.getLogger().setLevel(logging.ERROR)", ""),
        ("logging.basicConfig(format='mine %(message)s')", ""),
        ("logging.basicConfig(format='mine %(message)s', level=logging.INFO)", "mine one\n"),
    ],
)
def test_a_configuration_is_left_as_it_is(configuration: str, shown: str) -> None:
    assert said(f"{configuration}\nshow_lines()\nlogger.info('one')") == shown


def test_a_configuration_that_comes_later_takes_over() -> None:
    text = said(
        "show_lines()\nlogging.basicConfig(format='mine %(message)s')\n"
        "logger.warning('one'); logger.info('no'); logger.warning('two')"
    )
    assert text == "mine one\nmine two\n"


@pytest.mark.parametrize("module", ["iotio", "iotio_client", "iotio_protocol.logs"])
def test_an_import_configures_nothing(module: str) -> None:
    said(f"import {module}\nassert logging.getLogger('iotio').handlers == logging.getLogger().handlers == []")

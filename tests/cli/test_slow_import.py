"""An import that does not return is named."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event

import pytest

from iotio.cli.slow_import import watching

from .program import iotio_run


def test_an_import_that_does_not_return_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text("import time\n\ndef stay():\n    time.sleep(600)\n\nstay()\n")
    with iotio_run(tmp_path, "server.py") as server:
        line = server.wait_line("has been importing", 30)
    assert line == (
        "server.py has been importing for 10 s, and is served when that ends:"
        f" it is at {tmp_path / 'server.py'}, line 4: time.sleep(600)"
    )


def test_a_line_of_the_users_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with watching("x", 0.01):
        deadline = time.monotonic() + 5
        while not (text := capsys.readouterr().err):
            assert time.monotonic() < deadline
            Event().wait(0.01)
    assert text.startswith("x has been importing for 0.01 s, and is served when that ends: it is at ")
    assert f"{__file__}, line " in text


def test_nothing_is_said_of_a_quick_one(capsys: pytest.CaptureFixture[str]) -> None:
    with watching("x", 0.05):
        pass
    Event().wait(0.1)
    assert capsys.readouterr().err == ""

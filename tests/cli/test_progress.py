"""How far a copy is, at a terminal."""

from __future__ import annotations

import sys

import pytest

from iotio.cli.progress import shown_progress
from iotio.cli.target import Failure
from iotio.core.storage.contract import StoreError


def test_a_terminal_sees_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with shown_progress() as progress:
        assert progress is not None
        progress(1, 8)
        progress(0, 0)
    assert capsys.readouterr().err == "\r 12 %\r  0 %\r"


def test_nobody_else_does(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress() as progress:
        assert progress is None
    assert capsys.readouterr().err == ""


def test_what_goes_wrong_is_one_line() -> None:
    with pytest.raises(Failure, match=r"^it is full$"), shown_progress():
        raise StoreError("it is full")

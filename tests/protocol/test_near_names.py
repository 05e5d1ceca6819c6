"""Names that were probably meant."""

from __future__ import annotations

import pytest

from iotio_protocol.near_names import missing_handler, near_name


@pytest.mark.parametrize(
    ("name", "near"),
    [("message", "mesage"), ("Echo", "echo"), ("echo", None), ("", None), ("x" * 10_000, None), ("__class__", None)],
)
def test_the_name_that_was_meant(name: str, near: str | None) -> None:
    names = ["mesage", "brightness"] if name != "Echo" else ["echo"]
    assert near_name(name, names) == near


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("message", "on_mesage exists; did you mean on_message?"),
        ("volume", "on_volume would take it"),
        ("no such", "otherwise"),
        ("", "otherwise"),
        ("connect", "otherwise"),
    ],
)
def test_what_to_do_about_an_event_without_a_handler(event: str, words: str) -> None:
    assert missing_handler(event, ["mesage", "connectd"], {"connect"}, "otherwise") == words

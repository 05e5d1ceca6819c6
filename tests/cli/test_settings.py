"""The options of `iotio run` travel to the process that serves."""

from __future__ import annotations

import dataclasses
import pickle

import click
import pytest

from iotio.cli.command import run
from iotio.cli.settings import Settings

SETTINGS = Settings(
    target="server:manager",
    host="127.0.0.1",
    port=0,
    uds=None,
    ssl_certfile=None,
    ssl_keyfile=None,
    threads=3,
    view_threads=None,
    slow_handler=0.5,
    request_context=True,
    log_level="debug",
)


def test_they_survive_the_way_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(SETTINGS)) == SETTINGS


def test_they_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SETTINGS.port = 1  # type: ignore[misc]  # that is the point


def test_each_option_of_the_command_but_reload_is_one_of_them() -> None:
    assert isinstance(run, click.Command)
    options = {parameter.name for parameter in run.params} - {"reload", "workers"}
    assert options == {field.name for field in dataclasses.fields(Settings)}

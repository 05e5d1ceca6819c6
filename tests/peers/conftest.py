"""Fixtures for the original programs; each skips, with the reason, where there is no Python for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers import environments
from tests.support.processes import JsonProgram

PROGRAMS = Path(__file__).with_name("programs")

Start = Callable[..., JsonProgram]
"""start(peer, "device_0412.py", argument...): a program of the original, killed at the end of the test."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is marked `peers`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.peers)


def python_of(peer: environments.Peer) -> Path:
    """The interpreter of its environment, or a skip."""
    try:
        return peer.python()
    except environments.PeerUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts programs of the original."""
    with ExitStack() as stack:

        def start_one(peer: environments.Peer, program: str, *arguments: str) -> JsonProgram:
            python = python_of(peer)
            # Their warnings (of eventlet, of Python itself) are as old as they are.
            command: list[str | Path] = [python, "-W", "ignore", "-u", PROGRAMS / program, *arguments]
            return stack.enter_context(JsonProgram(command))

        yield start_one


@pytest.fixture(params=[environments.GEN1, environments.GEN1_MODERN], ids=lambda peer: peer.name)
def gen1(request: pytest.FixtureRequest) -> environments.Peer:
    """iot.io 0.4.10 and iot.io-client 0.4.12, on old and on new packages."""
    peer: environments.Peer = request.param
    return peer


@pytest.fixture
def gen0() -> environments.Peer:
    """iot.io-client 0.1.0."""
    return environments.gen0_device()

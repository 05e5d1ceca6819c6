"""Servers for the load tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.load.harness import LoadServer

StartServer = Callable[..., LoadServer]


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Start a server: `start_server("gevent", ping_interval=1)`; it is gone after the test."""
    with ExitStack() as stack:

        def start(host: str, **options: float) -> LoadServer:
            return stack.enter_context(LoadServer(host, **options))

        yield start

"""uvicorn in a thread, as a foreign ASGI server."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

import uvicorn

from tests.support.processes import START_SECONDS

__all__ = ["UvicornThread"]


class UvicornThread:
    """A running uvicorn on a free port; a context manager.

    Args:
        app: what it serves.
        options: for `uvicorn.Config`.
    """

    def __init__(self, app: Any, **options: Any) -> None:
        settings: dict[str, Any] = {"port": 0, "log_config": None, "access_log": False, **options}
        self._server = uvicorn.Server(uvicorn.Config(app, h11_max_incomplete_event_size=256 * 1024, **settings))
        self._thread = threading.Thread(target=self._server.run, name="uvicorn", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            assert self._thread.is_alive(), "uvicorn could not start"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it in order."""
        self._server.should_exit = True
        self._thread.join(15)
        assert not self._thread.is_alive()

"""Run the code on standard input as a test of documentation: whatever would serve for ever returns at once.

Warnings are errors. The code is not `__main__`, and the files that it makes are gone at the end.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any


def return_at_once(*_arguments: Any, **_options: Any) -> None:
    """In the place of what blocks."""


def main() -> None:
    """Run it."""
    import flask
    import gevent.pywsgi

    import iotio_client

    flask.Flask.run = return_at_once  # type: ignore[method-assign]  # it would serve
    gevent.pywsgi.WSGIServer.serve_forever = return_at_once  # type: ignore[method-assign]  # so would it
    for client in (iotio_client.IoTClient, iotio_client.AsyncIoTClient):
        client.run = return_at_once  # type: ignore[method-assign]  # and these connect
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            exec(compile(sys.stdin.read(), "<snippet>", "exec"), {"__name__": "snippet"})
        finally:
            os.chdir(os.sep)


if __name__ == "__main__":
    main()

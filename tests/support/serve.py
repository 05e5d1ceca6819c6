"""The application of `tests.support.app` as a program: monkey-patched gevent, or what gunicorn loads.

`python -m tests.support.serve` prints `ready PORT`; options come as JSON in TEST_HOST_OPTIONS,
the store in TEST_HOST_STORE. What the handlers
see is printed as one JSON object a line.
"""

from __future__ import annotations

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()

import json
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import flask


def record(client_id: str, what: str) -> None:
    """Print it in one write."""
    sys.stdout.write(json.dumps({"id": client_id, "what": what}) + "\n")
    sys.stdout.flush()


def app() -> flask.Flask:
    """The application."""
    from iotio import Options
    from tests.support.app import make_app

    options = Options(**json.loads(os.environ.get("TEST_HOST_OPTIONS", "{}")))
    return make_app(record, options=options, store=os.environ.get("TEST_HOST_STORE") or None)[0]


def main() -> None:
    """Serve it with gevent until SIGTERM."""
    from gevent import pywsgi
    from geventwebsocket.handler import WebSocketHandler

    server = pywsgi.WSGIServer(("127.0.0.1", 0), app(), handler_class=WebSocketHandler, log=None)
    server.start()
    print(f"ready {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

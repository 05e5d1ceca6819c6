"""The server of examples/endpoint_api.py, for those who know the token.

Set it in the environment (TOKEN=secret python examples/endpoint_api_with_auth.py) and add it to each request:
`curl -H 'Authorization: Bearer secret' ...`.
"""

from __future__ import annotations

import functools
import hmac
import os
from collections.abc import Callable
from typing import Any

from flask import Flask, abort, request
from gevent import pywsgi
from geventwebsocket.handler import WebSocketHandler

from iotio import DeviceType, IoTManager

TOKEN = os.environ.get("TOKEN", "")


def token_required(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let only those through who send the token."""

    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        # compare_digest takes as long for a nearly right token as for a wrong one.
        if not TOKEN or not hmac.compare_digest(given.encode(), TOKEN.encode()):
            abort(401)
        return view(*args, **kwargs)

    return guarded


app = Flask(__name__)
manager = IoTManager(app, endpoint_api=True, endpoint_auth_decorator=token_required)
manager.add_type(DeviceType("lamp"))

if __name__ == "__main__":
    pywsgi.WSGIServer(("", 5000), app, handler_class=WebSocketHandler).serve_forever()

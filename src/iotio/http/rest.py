"""The REST API: `POST /api/iot.io` sends a value to an endpoint of a device, as in iot.io 0.4.10.

It is open to everybody unless `register` is given an `auth_decorator`. See docs/endpoints.md for the answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import flask
from flask.views import MethodView
from werkzeug.exceptions import BadRequest, HTTPException, InternalServerError, MethodNotAllowed
from werkzeug.wrappers import Response

from iotio.core.primitives import allocate_lock
from iotio_protocol import strict_json
from iotio_protocol.endpoints import Endpoint, ValidationResponse
from iotio_protocol.errors import EncodeError, InvalidData
from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import get_logger
from iotio_protocol.options import Options
from iotio_protocol.origins import foreign
from iotio_protocol.values import Value

__all__ = ["AuthDecorator", "EmitOutcome", "EndpointResource", "EndpointSender", "RestfulApi", "register"]

logger = get_logger("iotio.http")

_PREFIX = "/api"
_PATH = "/iot.io"
_VIEW = "endpointresource"  # the view's name for `flask.url_for`, the same as under flask-restful

# All that Flask should route here, so that a wrong method gets its 405 as JSON.
_METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
_ALLOWED = ["OPTIONS", "POST"]

AuthDecorator = Callable[[Callable[[], Any]], Callable[..., Any]]
"""Wraps the view; the wrapper is called with no arguments, and what it returns is the response."""


class EmitOutcome(Protocol):
    """What became of an emit to one client id."""

    @property
    def sent(self) -> int:
        """To how many devices it was sent."""

    @property
    def dropped(self) -> Mapping[str, str]:
        """Devices that are connected and yet did not get it, with the reason."""


class Warnings(Protocol):
    """Where lines go that a peer can cause at will."""

    def warning(self, kind: str, text: str, /, *args: object) -> None:
        """Log a warning, unless there are too many."""


class EndpointSender(Protocol):
    """The part of the manager that the REST API needs."""

    @property
    def options(self) -> Options:
        """`allowed_origins` and `allowed_hosts` apply."""

    @property
    def log_throttle(self) -> Warnings:
        """Where refused requests are logged."""

    def client(self, client_id: str, /) -> object | None:
        """Return the connected device of an id, or None."""

    def get_validator(self, client_id: str, endpoint_id: str, /) -> Endpoint | ValidationResponse:
        """Return the endpoint of a device, or why there is none."""

    def on_get_offline_validator(self, client_id: str, endpoint_id: str, /) -> object:
        """Return the endpoint that checks a value for a device that is away, or something else for none."""

    def emit(self, event: str, data: Value, client_id: str, /) -> EmitOutcome:
        """Send to one device; EncodeError for what cannot travel, InvalidData for what its endpoint does not take."""


class RestfulApi(Protocol):
    """What is used of a `flask_restful.Api`."""

    def add_resource(self, resource: Any, /, *urls: str, resource_class_kwargs: dict[str, Any]) -> Any:
        """Serve a view class under the Api's prefix."""


def register(
    app: flask.Flask,
    manager: EndpointSender,
    *,
    auth_decorator: AuthDecorator | None = None,
    api: bool | RestfulApi | None = True,
) -> None:
    """Add the REST API to an application.

    Args:
        app: the application; not used where `api` is an Api object.
        manager: where the values go.
        auth_decorator: applied once, here, to the view; None leaves the API open to everybody.
        api: True for `/api/iot.io`; a `flask_restful.Api` for `<its prefix>/iot.io`; False, None: no API.

    Raises:
        TypeError: `api` is something else.
    """
    if api is None or api is False:
        return
    arguments = {"manager": manager, "auth_decorator": auth_decorator}
    if api is True:
        view = EndpointResource.as_view(_VIEW, **arguments)
        app.add_url_rule(_PREFIX + _PATH, view_func=view, methods=_METHODS, provide_automatic_options=False)
    elif hasattr(api, "add_resource"):
        api.add_resource(EndpointResource, _PATH, resource_class_kwargs=arguments)
    else:
        raise TypeError(f"endpoint_api must be True, False, None or a flask_restful.Api, not {api!r}")


class EndpointResource(MethodView):
    """The view of the REST API. All its answers are JSON, whatever happens."""

    init_every_request = False  # one object serves all requests: it has no state of its own

    def __init__(self, manager: EndpointSender, auth_decorator: AuthDecorator | None = None) -> None:
        self.manager = manager
        self._throttle = LogThrottle(time.monotonic, allocate_lock(), logger)
        self._handler: Callable[..., Any] = auth_decorator(self.post) if auth_decorator else self.post

    def post(self) -> Any:
        """Check a value and send it.

        Returns:
            The body and, unless it is 200, the status.
        """
        arguments = _read_arguments()
        client_id, endpoint_id = _as_id(arguments["clientId"]), _as_id(arguments["endpointId"])
        if client_id is None or (endpoint_id is None and self.manager.client(client_id) is None):
            return _failure(ValidationResponse.CLIENT_NOT_CONNECTED)
        if endpoint_id is None:
            return _failure(ValidationResponse.ENDPOINT_NOT_DEFINED_BY_CLIENT)
        return _send(self.manager, client_id, endpoint_id, arguments["data"])

    def dispatch_request(self, **kwargs: Any) -> Response:
        """Answer one request; an exception becomes a JSON body that tells nothing internal."""
        try:
            if flask.request.method == "OPTIONS":
                return flask.Response(headers={"Allow": ", ".join(_ALLOWED)})
            if flask.request.method != "POST":
                raise MethodNotAllowed(valid_methods=_ALLOWED)
            _check_page(self.manager)
            return _as_response(flask.current_app.ensure_sync(self._handler)())
        except HTTPException as error:
            return _http_error(error)
        except Exception as error:
            self._throttle.error(error, "rest", "REST API: error in a handler of the program")
            return _http_error(InternalServerError("Internal Server Error"))


def _check_page(manager: EndpointSender) -> None:
    """Refuse the request of a stranger's web page, before any code of the program sees it.

    Raises:
        HTTPException: 403 for a page of another host, 421 for one that has its own name lead to this server.
    """
    request = flask.request
    stranger = foreign(list(request.headers), manager.options)
    if stranger is None:
        return
    is_page = stranger.option == "allowed_origins"
    manager.log_throttle.warning(
        stranger.option, "REST request from %s refused: %s. %s", request.remote_addr, stranger.info, stranger.advice
    )
    error = "origin_not_allowed" if is_page else "host_not_allowed"
    body = {"success": False, "error": error, "message": stranger.advice}
    flask.abort(flask.make_response(body, 403 if is_page else 421))


# The arguments in the order of their checks, each with the text for its absence (0.4.10).
_ARGUMENTS = {
    "clientId": "ID of Client.",
    "endpointId": "ID of Endpoint where data should be sent.",
    "data": "Data to be sent.",
}


def _read_arguments() -> dict[str, Any]:
    """Read the three arguments from the JSON body, or else from the query string.

    Raises:
        HTTPException: one is missing, or the body is not a JSON object.
    """
    body, query = _read_body(), flask.request.args
    arguments = {}
    for name, help_text in _ARGUMENTS.items():
        if name in body:
            arguments[name] = body[name]
        elif name in query:
            arguments[name] = query[name]
        else:
            flask.abort(flask.make_response({"message": {name: help_text}}, 400))
    return arguments


def _read_body() -> dict[str, Any]:
    """Read the JSON body; empty where there is none: another content type, or null."""
    if not flask.request.is_json:
        return {}
    try:
        body = strict_json.loads(flask.request.get_data().decode("utf-8-sig"))
    except ValueError:
        raise BadRequest from None
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise BadRequest("The JSON body must be an object.")
    return body


def _as_id(value: object) -> str | None:
    """Return the text of an id, None for what is no id; a number is one, as everything was in 0.4.10."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) else None


def _send(manager: EndpointSender, client_id: str, endpoint_id: str, data: object) -> tuple[dict[str, Any], int]:
    connected = manager.client(client_id) is not None
    # A value for a device that is away is sent nowhere. So it is refused, unless the program says that it is of use.
    find: Callable[[str, str], object] = manager.get_validator if connected else manager.on_get_offline_validator
    endpoint = find(client_id, endpoint_id)
    if not isinstance(endpoint, Endpoint):
        why = endpoint if isinstance(endpoint, ValidationResponse) else ValidationResponse.CLIENT_NOT_CONNECTED
        return _failure(why)
    if endpoint.access == "read":  # to those who set values, there is no such endpoint
        return _failure(ValidationResponse.ENDPOINT_NOT_DEFINED_BY_CLIENT)
    verdict, value = endpoint.validate(data)
    if verdict is not ValidationResponse.VALID:
        return _failure(verdict)
    try:
        outcome = manager.emit(endpoint.id, value, client_id)
    except (EncodeError, InvalidData) as error:  # InvalidData: it has come again just now, with other endpoints
        logger.debug("REST API: value for %r of %r cannot be sent: %s", endpoint_id, client_id, error)
        return _failure(ValidationResponse.INVALID_TYPE)
    if outcome.dropped:
        return {"success": False, "error": "message_dropped"}, 503
    if connected and not outcome.sent:
        return _failure(ValidationResponse.CLIENT_NOT_CONNECTED, 409)
    return {"success": True}, 200


def _failure(problem: ValidationResponse, status: int = 400) -> tuple[dict[str, Any], int]:
    return {"success": False, "error": problem.value}, status


def _as_response(result: Any) -> Response:
    """Make a response of a view's result, as flask-restful did: a response, or `data[, status[, headers]]` for JSON."""
    if result is None:
        raise TypeError("the function that endpoint_auth_decorator made returned None instead of a response")
    if isinstance(result, Response):
        return result
    data, *rest = result if isinstance(result, tuple) else (result,)
    return flask.make_response(data if isinstance(data, Response) else flask.jsonify(data), *rest)


def _http_error(error: HTTPException) -> Response:
    """Make the response of an HTTP error, its headers kept, with a JSON body unless it brings its own."""
    response = error.get_response()
    if error.response is None:
        # flask_restful.abort(status, message=...) leaves the body in `data`.
        body = getattr(error, "data", None) or {"message": error.description}
        response.data = flask.json.dumps(body) + "\n"
        response.content_type = "application/json"
    return response

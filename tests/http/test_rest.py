"""The REST API: every vector of iot.io 0.4.10, the list of what is deliberately different, and more."""

from __future__ import annotations

import functools
import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from flask_restful import Api
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import Unauthorized

from iotio import DeviceType
from iotio.http import register
from iotio.http.rest import EndpointResource
from iotio_protocol import v1
from iotio_protocol.endpoints import Endpoint, IntegerEndpoint, ValidationResponse, parse_endpoints
from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.options import Options
from iotio_protocol.values import Value
from tests.protocol.vectors import load
from tests.support.memory import make_manager, v1_device

CASES = load("rest_api.json")["cases"]

INTEGER = {"id": "int", "name": "n", "type": "integer", "constraints": {"min": 0, "max": 10, "increment": 2}}
ENUM = {"type": "enum", "name": "n"}
# The device of the vectors.
DEVICE = [
    INTEGER,
    {"id": "boo", "name": "n", "type": "boolean"},
    {"id": "free", "name": "n", "type": "integer"},
    {"id": "str", "name": "n", "type": "string", "constraints": {"length": 3, "allowList": "abc"}},
    {"id": "any", "name": "n", "type": "string"},
    {"id": "deny", "name": "n", "type": "string", "constraints": {"denyList": ["bad"]}},
    {**ENUM, "id": "enu", "constraints": {"values": {"a": "Apple", "b": "Banana"}}},
    {**ENUM, "id": "enui", "constraints": {"values": {"one": 1, "two": 2}}},
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an emit to one device came to."""

    sent: int = 0
    offline: tuple[str, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)


class FakeManager:
    """The part of the manager that REST uses, over a dictionary of devices."""

    def __init__(self, *, connected: bool = True, offline: bool = False) -> None:
        self.options = Options()
        self.log_throttle = LogThrottle(time.monotonic, threading.Lock())
        self.devices: dict[str, dict[str, Endpoint]] = {}
        self.knows_offline = offline
        self.packets: list[bytes] = []
        self.events: list[dict[str, Any]] = []
        if connected:
            self.devices["dev1"] = parse_endpoints(DEVICE)

    def client(self, client_id: str) -> object | None:
        return self.devices.get(client_id)

    def get_validator(self, client_id: str, endpoint_id: str) -> Endpoint | ValidationResponse:
        endpoints = self.devices.get(client_id)
        if endpoints is not None:
            return endpoints.get(endpoint_id, ValidationResponse.ENDPOINT_NOT_DEFINED_BY_CLIENT)
        return ValidationResponse.CLIENT_NOT_CONNECTED

    def on_get_offline_validator(self, client_id: str, endpoint_id: str) -> Endpoint | ValidationResponse:
        if not self.knows_offline:
            return ValidationResponse.CLIENT_NOT_CONNECTED
        self.events.append({"ev": "offline", "cid": client_id, "eid": endpoint_id})
        if endpoint_id == "raise":
            raise RuntimeError("secret of the program")
        if endpoint_id == "resp":
            return ValidationResponse.ENDPOINT_NOT_DEFINED_BY_CLIENT
        if endpoint_id == "none":
            return ValidationResponse.CLIENT_NOT_CONNECTED
        return IntegerEndpoint("int", "n", None, 0, 10)

    def emit(self, event: str, data: Value, client_id: str) -> Outcome:
        packet = v1.encode(event, data)
        self.events.append({"ev": "on_update", "client": client_id, "event": event, "data": data})
        if client_id not in self.devices:
            return Outcome(offline=(client_id,))
        self.packets.append(packet)
        return Outcome(sent=1)


def build(manager: FakeManager, mode: str = "true") -> flask.Flask:
    """An application with the API as a mode of the vectors has it."""
    app = flask.Flask(__name__)

    def auth(view: Callable[[], Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            given = flask.request.headers.get("Authorization")
            manager.events.append({"ev": "auth", "auth": given})
            return view() if given == "secret" else ({"message": "no"}, 401)

        return wrapper

    if mode == "auth":
        register(app, manager, auth_decorator=auth)
    elif mode == "api":
        register(app, manager, api=Api(app, prefix="/custom"))
    else:
        register(app, manager, api={"true": True, "false": False, "none": None}[mode])
    return app


@pytest.fixture
def manager() -> FakeManager:
    return FakeManager()


@pytest.fixture
def client(manager: FakeManager) -> FlaskClient:
    return build(manager).test_client()


def post(client: FlaskClient, data: object, endpoint: str = "int", device: str = "dev1") -> tuple[int, Any]:
    answer = client.post("/api/iot.io", json={"clientId": device, "endpointId": endpoint, "data": data})
    return answer.status_code, answer.json


# The vectors.


@dataclass(frozen=True, slots=True)
class Difference:
    """What we answer instead of the original, and why."""

    reason: str
    status: int
    response: Any
    packets: tuple[tuple[int, str, Any], ...] = ()


TYPED = "S31: a JSON value keeps its type, it is not turned into text first; "
WRONG_TYPE = {"success": False, "error": "invalid_data_type"}
NO_TEXT = Difference(TYPED + "null, lists and objects are no text", 400, WRONG_TYPE)
NO_NUMBER = Difference(TYPED + "a list is no number, where its first element was taken", 400, WRONG_TYPE)
ODD = Difference("S29: the increment is enforced", 400, {"success": False, "error": "invalid_increment"})
BAD_BODY = Difference("S30: never a 500 for a bad body", 400, {"message": "The JSON body must be an object."})

DIFFERENCES = {
    "boolean 1": Difference(TYPED + "1 is true", 200, {"success": True}, ((1, "boo", True),)),
    "boolean None": Difference(TYPED + "null is not false", 400, WRONG_TYPE),
    "integer 3": ODD,
    "integer 5": ODD,
    "integer None": Difference("S30: null was a 500", 400, WRONG_TYPE),
    "integer [1]": NO_NUMBER,
    "integer [1, 2]": NO_NUMBER,
    "string(len3,abc) None": NO_TEXT,
    "string(any) None": NO_TEXT,
    "string(any) [1, 2]": NO_TEXT,
    "string(any) ['x']": NO_TEXT,
    "string(any) {'a': 1}": NO_TEXT,
    "string(any) {}": NO_TEXT,
    "json list body": BAD_BODY,
    "json scalar": BAD_BODY,
}


def with_even_number(case: dict[str, Any]) -> dict[str, Any]:
    """A vector that sends 5 to `int` by the way, with 4 instead.

    The increment of 2 is enforced now; the vectors whose matter is something else would all end there.
    """
    text = json.dumps(case)
    if case["name"].startswith("integer ") or not ('"int"' in text or "endpointId=int" in text):
        return case
    changed: dict[str, Any] = json.loads(re.sub(r'(data=|"(?:data|value)": |"data\\\\":)5\b', r"\g<1>4", text))
    return changed


def request_of(case: dict[str, Any]) -> dict[str, Any]:
    body = case["body"]
    arguments: dict[str, Any] = {"method": case["method"], "headers": case["headers"]}
    if isinstance(body, str):
        arguments["data"] = body
    elif body is not None:
        arguments["json"] = body
    return arguments


@pytest.mark.parametrize("case", [with_even_number(case) for case in CASES], ids=lambda case: case["name"])
def test_vector(case: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    manager = FakeManager(connected=case["device_connected"], offline=case["offline_validator"])
    answer = build(manager, case["mode"]).test_client().open(case["path"], **request_of(case))
    expected = case["0.4.10"]
    sent = [(packet["type"], packet["event"], packet["value"]) for packet in expected["delivered_packets"]]
    difference = DIFFERENCES.get(case["name"])
    if difference is not None:
        expected = {"status": difference.status, "response": difference.response}
        sent = list(difference.packets)
    assert answer.status_code == expected["status"]
    if answer.status_code != 404:
        assert answer.mimetype == "application/json"
        assert (answer.json if answer.data else "") == expected["response"]
    assert [(packet[0], *v1.decode(packet)) for packet in manager.packets] == sent
    if difference is None:
        assert manager.events == expected["events"]
    if answer.status_code == 500:
        assert "secret of the program" in caplog.text


def test_each_difference_is_one() -> None:
    originals = {case["name"]: case["0.4.10"] for case in CASES}
    for name, difference in DIFFERENCES.items():
        was = originals[name]["status"], originals[name]["response"]
        assert (difference.status, difference.response) != was, name


# Beyond the vectors.


@pytest.mark.parametrize("data", [2**63, -(2**63) - 1, 1e300, None, [1], {"a": 1}, True, 1.5])
def test_no_number_is_a_400(client: FlaskClient, data: object) -> None:
    assert post(client, data, "free") == (400, WRONG_TYPE)


def test_numbers_keep_their_type(client: FlaskClient, manager: FakeManager) -> None:
    assert post(client, 4.0)[0] == post(client, "4")[0] == 200
    assert manager.packets == [v1.encode("int", 4)] * 2


def test_false_in_words_is_false(client: FlaskClient, manager: FakeManager) -> None:
    assert post(client, "false", "boo")[0] == 200
    answer = client.post("/api/iot.io?clientId=dev1&endpointId=boo&data=False")
    assert answer.status_code == 200
    assert manager.packets == [v1.encode("boo", False)] * 2


def test_the_body_beats_the_query_string(client: FlaskClient, manager: FakeManager) -> None:
    answer = client.post("/api/iot.io?clientId=other&data=8", json={"clientId": "dev1", "endpointId": "int"})
    assert answer.status_code == 200
    assert manager.packets == [v1.encode("int", 8)]


@pytest.mark.parametrize(
    ("device", "endpoint", "error"),
    [
        (None, "int", "client_not_connected"),
        ([], "int", "client_not_connected"),
        ({}, None, "client_not_connected"),
        ("nobody", None, "client_not_connected"),
        ("dev1", None, "endpoint_not_defined_by_client"),
        ("dev1", ["int"], "endpoint_not_defined_by_client"),
        ("dev1", 7, "endpoint_not_defined_by_client"),
        (True, "int", "client_not_connected"),
    ],
)
def test_ids_that_are_none(client: FlaskClient, device: Any, endpoint: Any, error: str) -> None:
    assert post(client, 4, endpoint, device) == (400, {"success": False, "error": error})


def test_a_number_names_a_device(manager: FakeManager, client: FlaskClient) -> None:
    manager.devices["5"] = manager.devices["dev1"]
    answer = client.post("/api/iot.io", json={"clientId": 5, "endpointId": "int", "data": 4})
    assert answer.status_code == 200
    assert manager.events[0]["client"] == "5"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"data": NaN}', b"[" * 100_000, b'{"data": ' + b"9" * 5000 + b"}"]
)
def test_bad_json_is_a_400(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/api/iot.io", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json == {"message": "The browser (or proxy) sent a request that this server could not understand."}


@pytest.mark.parametrize("body", ["[]", "5", "0", "false", '""', '"x"'])
def test_a_body_that_is_no_object_is_a_400(client: FlaskClient, body: str) -> None:
    answer = client.post("/api/iot.io", data=body, content_type="application/json")
    assert (answer.status_code, answer.json) == (400, {"message": "The JSON body must be an object."})


def test_null_is_no_body(client: FlaskClient) -> None:
    answer = client.post("/api/iot.io", data="null", content_type="application/json")
    assert (answer.status_code, answer.json) == (400, {"message": {"clientId": "ID of Client."}})


def test_a_byte_order_mark_is_no_harm(client: FlaskClient) -> None:
    body = b'\xef\xbb\xbf{"clientId": "dev1", "endpointId": "int", "data": 4}'
    assert client.post("/api/iot.io", data=body, content_type="application/json").status_code == 200


class Leaving(FakeManager):
    """The device leaves between the check and the send."""

    def emit(self, event: str, data: Value, client_id: str) -> Outcome:
        self.devices.clear()
        return super().emit(event, data, client_id)


def test_a_device_that_left_is_a_409() -> None:
    manager = Leaving()
    status, answer = post(build(manager).test_client(), 4)
    assert (status, answer) == (409, {"success": False, "error": "client_not_connected"})
    assert manager.packets == []


class Arriving(FakeManager):
    """The device connects before its value is sent."""

    def on_get_offline_validator(self, client_id: str, endpoint_id: str) -> Endpoint | ValidationResponse:
        self.devices["dev1"] = parse_endpoints(DEVICE)
        return super().on_get_offline_validator(client_id, endpoint_id)


def test_a_device_that_comes_meanwhile_gets_what_the_program_lets_through() -> None:
    manager = Arriving(connected=False, offline=True)
    assert post(build(manager).test_client(), 4) == (200, {"success": True})
    assert len(manager.packets) == 1


def test_what_is_read_only_cannot_be_set(client: FlaskClient, manager: FakeManager) -> None:
    sensor = {"id": "s", "name": "n", "type": "float", "access": "read"}
    manager.devices["dev1"] = parse_endpoints([sensor, {**sensor, "id": "w", "access": "write"}])
    refused = (400, {"success": False, "error": "endpoint_not_defined_by_client"})
    assert post(client, "rubbish", "s") == post(client, 4, "s") == refused
    assert post(client, 4, "nosuch") == refused, "the same answer"
    assert manager.events == []


def test_a_device_that_is_known_and_away() -> None:
    """As in iot.io 0.4: nothing is sent, so it is refused, unless the program says that the value is of use."""
    manager = make_manager(DeviceType("echo"))
    v1_device(manager, "dev1", endpoints=DEVICE).drop()
    app = flask.Flask(__name__)
    register(app, manager)
    client = app.test_client()
    assert isinstance(manager.get_validator("dev1", "int"), IntegerEndpoint)
    assert post(client, 4) == (400, {"success": False, "error": "client_not_connected"})
    manager.event(FakeManager(offline=True).on_get_offline_validator)
    assert post(client, 4) == (200, {"success": True})
    assert post(client, 11) == (400, {"success": False, "error": "higher_than_max"})

    @manager.event
    def on_get_offline_validator(client_id: str, endpoint_id: str) -> None:
        """Return nothing: such a program was taken for one without, too."""

    assert post(client, 4) == (400, {"success": False, "error": "client_not_connected"})


class Full(FakeManager):
    """The device's outbox is full."""

    def emit(self, event: str, data: Value, client_id: str) -> Outcome:
        return Outcome(dropped={client_id: "backpressure"})


def test_a_dropped_message_is_a_503() -> None:
    answer = post(build(Full()).test_client(), 4)
    assert answer == (503, {"success": False, "error": "message_dropped"})


def test_what_cannot_be_encoded_is_a_400(client: FlaskClient, manager: FakeManager) -> None:
    half = "\ud800"
    manager.devices["dev1"] = parse_endpoints(
        [{"id": "e", "name": "n", "type": "enum", "constraints": {"values": {"half": half}}}]
    )
    assert post(client, half, "e") == (400, WRONG_TYPE)
    assert manager.packets == []


@pytest.mark.parametrize("mode", ["true", "api"])
def test_a_failing_program_is_a_500_without_details(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    app = build(FakeManager(offline=True), mode)
    app.config["TESTING"] = True
    path = "/custom/iot.io" if mode == "api" else "/api/iot.io"
    with caplog.at_level(logging.ERROR, logger="iotio.http"):
        for _ in range(50):
            answer = app.test_client().post(path, json={"clientId": "x", "endpointId": "raise", "data": 1})
    assert (answer.status_code, answer.json) == (500, {"message": "Internal Server Error"})
    assert "secret of the program" in caplog.text
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 10


# Methods.


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD"])
def test_other_methods(client: FlaskClient, method: str) -> None:
    answer = client.open("/api/iot.io", method=method)
    assert answer.status_code == 405
    assert answer.mimetype == "application/json"
    assert answer.allow.as_set() == {"options", "post"}


def test_options(client: FlaskClient) -> None:
    answer = client.options("/api/iot.io")
    assert answer.status_code == 200
    assert answer.allow.as_set() == {"options", "post"}


def test_url_for(manager: FakeManager) -> None:
    with build(manager).test_request_context():
        assert flask.url_for("endpointresource") == "/api/iot.io"


# The decorator.


@pytest.mark.parametrize("authorization", [{}, {"Authorization": "wrong"}])
def test_the_decorator_refuses(manager: FakeManager, authorization: dict[str, str]) -> None:
    answer = build(manager, "auth").test_client().post("/api/iot.io", json={}, headers=authorization)
    assert (answer.status_code, answer.json) == (401, {"message": "no"})
    assert manager.packets == []


def answer_of(result: Callable[[], Any]) -> tuple[int, Any]:
    """The answer where the decorator's wrapper returns or raises this instead of calling the view."""
    app = flask.Flask(__name__)
    register(app, FakeManager(), auth_decorator=lambda view: result)
    answer = app.test_client().post("/api/iot.io")
    return answer.status_code, answer.json if answer.is_json else answer.text


def fail(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (lambda: {"a": 1}, (200, {"a": 1})),
        (lambda: ({"a": 1}, 418, {"X-A": "b"}), (418, {"a": 1})),
        (lambda: ("no", 403), (403, "no")),
        (lambda: flask.Response("own", 402), (402, "own")),
        (lambda: (flask.Response("own"), 402), (402, "own")),
        (lambda: fail(Unauthorized("log in")), (401, {"message": "log in"})),
        (lambda: flask.abort(flask.Response("own", 407)), (407, "own")),
        (lambda: None, (500, {"message": "Internal Server Error"})),
        (lambda: fail(RuntimeError("secret")), (500, {"message": "Internal Server Error"})),
    ],
)
def test_what_the_wrapper_returns_is_the_response(result: Callable[[], Any], expected: tuple[int, Any]) -> None:
    assert answer_of(result) == expected


def test_the_body_of_flask_restful_abort() -> None:
    from flask_restful import abort

    assert answer_of(lambda: abort(403, message="not you")) == (403, {"message": "not you"})


def test_the_decorator_is_applied_once(manager: FakeManager) -> None:
    applied = []

    def decorator(view: Callable[[], Any]) -> Callable[[], Any]:
        applied.append(view)
        return view

    app = flask.Flask(__name__)
    register(app, manager, auth_decorator=decorator)
    for _ in range(2):
        assert post(app.test_client(), 4)[0] == 200
    assert len(applied) == 1


# Registration.


def test_an_api_object_on_a_blueprint(manager: FakeManager) -> None:
    blueprint = flask.Blueprint("api", __name__, url_prefix="/v1")
    app = flask.Flask(__name__)
    register(app, manager, api=Api(blueprint))
    app.register_blueprint(blueprint)
    answer = app.test_client().post("/v1/iot.io", json={"clientId": "dev1", "endpointId": "int", "data": 4})
    assert answer.json == {"success": True}


def test_an_api_object_answers_405_in_json(manager: FakeManager) -> None:
    answer = build(manager, "api").test_client().get("/custom/iot.io")
    assert (answer.status_code, answer.json) == (
        405,
        {"message": "The method is not allowed for the requested URL."},
    )


def test_two_applications_may_have_the_api(manager: FakeManager) -> None:
    for app in (build(manager), build(manager)):
        assert post(app.test_client(), 4)[0] == 200


@pytest.mark.parametrize("api", [1, "yes", object()])
def test_anything_else_is_refused(manager: FakeManager, api: Any) -> None:
    with pytest.raises(TypeError, match=r"flask_restful\.Api"):
        register(flask.Flask(__name__), manager, api=api)


def test_flask_restful_is_not_imported() -> None:
    program = "import sys, iotio.http; sys.exit('flask_restful' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_view_is_the_old_class(manager: FakeManager) -> None:
    assert EndpointResource(manager).manager is manager


# Anything at all.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "clientId": st.just("dev1") | json_values,
        "endpointId": st.sampled_from(sorted(parse_endpoints(DEVICE))) | json_values,
        "data": json_values,
    },
)


@given(bodies | json_values)
def test_any_json_is_answered_with_200_or_400(body: Any) -> None:
    answer = build(FakeManager()).test_client().post("/api/iot.io", json=body)
    assert answer.status_code in (200, 400)
    assert answer.is_json


@given(st.binary())
def test_any_bytes_are_answered_with_400(body: bytes) -> None:
    answer = build(FakeManager()).test_client().post("/api/iot.io", data=body, content_type="application/json")
    assert answer.status_code == 400

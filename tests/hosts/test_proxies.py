"""Who is behind a proxy: what trusted ones say, on every host, and what others say."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import flask
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio import DeviceType, IoTClient, IoTManager, Options
from iotio.hosts.proxies import Client, TrustedProxies
from iotio_protocol import v1
from tests.support.asgi import UvicornThread
from tests.support.hosts import FAST, KINDS, Host, eventually, serve
from tests.support.wire import RawPeer, v1_headers

TRUSTED = TrustedProxies(["10.0.0.0/8", "2001:db8::1"])


def seen(address: str, lines: dict[str, str], proxies: TrustedProxies = TRUSTED) -> Client | None:
    given = {name.replace("_", "-"): value for name, value in lines.items()}
    return proxies.client(address, "7", lambda name: given.get(name, ""))


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ({"x_forwarded_for": "203.0.113.9"}, ("203.0.113.9", "0", "", "")),
        ({"x_forwarded_for": "1.1.1.1, 203.0.113.9"}, ("203.0.113.9", "0", "", "")),
        ({"x_forwarded_for": "1.1.1.1, 203.0.113.9,10.1.1.1 , 10.2.2.2"}, ("203.0.113.9", "0", "", "")),
        ({"x_forwarded_for": "10.3.3.3, 10.1.1.1"}, ("10.3.3.3", "0", "", "")),
        ({"x_forwarded_for": "203.0.113.9:4711"}, ("203.0.113.9", "4711", "", "")),
        ({"x_forwarded_for": "[2001:db8::9]:4711"}, ("2001:db8::9", "4711", "", "")),
        ({"x_forwarded_for": "2001:db8::9, 2001:db8::1"}, ("2001:db8::9", "0", "", "")),
        ({"x_forwarded_for": "::ffff:203.0.113.9"}, ("203.0.113.9", "0", "", "")),
        ({"x_forwarded_for": "1.1.1.1, unknown"}, ("10.0.0.1", "7", "", "")),
        ({"x_forwarded_for": "1.1.1.1, x, 10.1.1.1"}, ("10.1.1.1", "0", "", "")),
        ({"x_forwarded_proto": "https", "x_forwarded_host": "hub.example:8443"},
         ("10.0.0.1", "7", "https", "hub.example:8443")),
        ({"x_forwarded_for": "203.0.113.9", "x_forwarded_proto": "HTTPS", "x_forwarded_host": "[::1]:80"},
         ("203.0.113.9", "0", "https", "[::1]:80")),
        ({"x_forwarded_for": "1.1.1.1, 203.0.113.9, 10.1.1.1", "x_forwarded_proto": "http, wss, http",
          "x_forwarded_host": "mine.example, hub.example, inner"}, ("203.0.113.9", "0", "https", "hub.example")),
        ({"x_forwarded_for": "1.1.1.1, 203.0.113.9, 10.1.1.1", "x_forwarded_proto": "http, https"},
         ("203.0.113.9", "0", "https", "")),
        ({"x_forwarded_proto": "gopher", "x_forwarded_host": "a b"}, ("10.0.0.1", "7", "", "")),
        ({"forwarded": "for=203.0.113.9"}, ("203.0.113.9", "0", "", "")),
        ({"forwarded": 'For="[2001:db8::9]:4711";PROTO=https;host="hub.example:8443"'},
         ("2001:db8::9", "4711", "https", "hub.example:8443")),
        ({"forwarded": "for=1.1.1.1;host=mine, for=203.0.113.9;host=hub.example;proto=https , for=10.1.1.1;by=_x"},
         ("203.0.113.9", "0", "https", "hub.example")),
        ({"forwarded": 'for=1.1.1.1, for="_secret, for=2.2.2.2"'}, ("10.0.0.1", "7", "", "")),
        ({"forwarded": "for=1.1.1.1", "x_forwarded_for": "203.0.113.9"}, ("203.0.113.9", "0", "", "")),
    ],
)  # fmt: skip
def test_what_trusted_proxies_say(lines: dict[str, str], client: tuple[str, ...]) -> None:
    assert seen("10.0.0.1", lines) == client
    assert seen("::ffff:10.0.0.1", lines) is not None
    for stranger in ("203.0.113.1", "2001:db8::2", "", "?", "rubbish"):
        assert seen(stranger, lines) is None


@pytest.mark.parametrize("forwarded", ["", "for", 'for="1.1.1.1', "for=1.1.1.1 x", ";,", "for=1.1.1.1;,=", "=1"])
def test_a_malformed_line_says_nothing(forwarded: str) -> None:
    assert seen("10.0.0.1", {"forwarded": forwarded}) is None


@given(st.text(st.sampled_from('for=;,"\\ 1.:[]proth_é'), max_size=60))
def test_no_line_is_an_error(text: str) -> None:
    for name in ("forwarded", "x_forwarded_for", "x_forwarded_host"):
        found = seen("10.0.0.1", {name: text})
        assert found is None or (TRUSTED.trusts("10.0.0.1") and found.port.isdecimal())


def test_a_long_list_is_read_in_no_time() -> None:
    assert seen("10.0.0.1", {"x_forwarded_for": ",".join(["10.0.0.1"] * 6000)}) == ("10.0.0.1", "0", "", "")
    assert seen("10.0.0.1", {"forwarded": "for=10.0.0.1," * 5000 + "x" * 10_000}) is None


@pytest.mark.parametrize("peer", ["", "?", "<local>"])
def test_a_unix_socket(peer: str) -> None:
    unix = TrustedProxies(["unix"])
    assert unix
    assert seen(peer, {"x_forwarded_for": "203.0.113.9"}, unix) == ("203.0.113.9", "0", "", "")
    assert seen("127.0.0.1", {"x_forwarded_for": "203.0.113.9"}, unix) is None


def test_nobody_is_trusted_unless_it_is_said() -> None:
    assert not TrustedProxies(Options().trusted_proxies)
    for wrong in (["proxy.example"], ["10.0.0.300"], "10.0.0.1"):
        with pytest.raises(ValueError, match=r"Options\.trusted_proxies"):
            Options(trusted_proxies=wrong)


# Over the network, with the client's lines as a proxy would send them.

LINES = [
    ("X-Forwarded-For", "1.1.1.1, 203.0.113.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "hub.example"),
]


def options(*trusted: str, most: int = 0) -> Options:
    return Options(
        trusted_proxies=trusted,
        max_connections_per_address=most,
        refusal_delay=FAST.refusal_delay,
        close_timeout=FAST.close_timeout,
    )


@pytest.fixture(scope="module", params=KINDS)
def behind(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A server behind a proxy on this machine; one device an address."""
    with serve(request.param, options("127.0.0.0/8", most=1)) as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def alone(request: pytest.FixtureRequest) -> Iterator[Host]:
    """The same behind none that it trusts."""
    with serve(request.param, options("10.0.0.1", most=1)) as running:
        yield running


def device(host: Host, client_id: str, *lines: tuple[str, str]) -> RawPeer:
    peer = host.peer()
    assert peer.upgrade(headers=[*v1_headers(client_id, "echo"), *lines]).status == 101
    peer.send_binary(v1.encode("same", "hi"))
    return peer


def is_let_in(peer: RawPeer) -> bool:
    payload = peer.expect_frame().payload
    assert b"hi" in payload or b"server_busy" in payload
    return b"hi" in payload


def test_limits_are_for_the_client(behind: Host) -> None:
    with (
        device(behind, "a", *LINES) as first,
        device(behind, "b", *LINES) as second,
        device(behind, "c", ("Forwarded", "for=203.0.113.10")) as third,
    ):
        assert is_let_in(first)
        assert not is_let_in(second)
        assert is_let_in(third)
    eventually(lambda: behind.state()["clients"] == [])


def test_a_stranger_has_the_address_that_it_has(alone: Host) -> None:
    with device(alone, "a", *LINES) as first, device(alone, "b", ("X-Forwarded-For", "203.0.113.10")) as second:
        assert is_let_in(first)
        assert not is_let_in(second)
    eventually(lambda: alone.state()["clients"] == [])


def where(host: Host) -> tuple[Any, Any]:
    """What a device's handler and a view see of who asks."""
    with host.peer() as peer:
        assert peer.upgrade(headers=[*v1_headers("seen", "echo"), *LINES]).status == 101
        peer.send_binary(v1.encode("where", ""))
        _, handler = v1.decode(peer.expect_frame().payload)
    eventually(lambda: host.state()["clients"] == [])
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/where", headers=dict(LINES))
        return handler, json.loads(connection.getresponse().read())


def test_handlers_and_views_see_the_client(behind: Host) -> None:
    assert where(behind) == ({"address": "203.0.113.9", "url": "https://hub.example"},) * 2


def test_of_a_stranger_they_see_what_is(alone: Host) -> None:
    scheme = "https" if alone.kind == "gunicorn" else "http"  # which believes that, and no more, of this machine
    assert where(alone) == ({"address": "127.0.0.1", "url": f"{scheme}://127.0.0.1:{alone.port}"},) * 2


PAGE = {"Origin": "https://hub.example", "Cookie": "a=b", "Content-Type": "application/json", **dict(LINES)}


def status_of(host: Host, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("POST", "/api/iot.io", '{"clientId": "x", "endpointId": "e", "data": 1}', headers)
        return connection.getresponse().status


def test_a_page_is_of_the_host_that_the_proxy_was_asked_for(behind: Host) -> None:
    assert status_of(behind, PAGE) == 421, "it is our own page, but its name is not allowed"
    local = {**PAGE, "Origin": "https://pi.local", "X-Forwarded-Host": "pi.local"}
    assert status_of(behind, local) == 400


def test_but_not_because_it_says_so_itself(alone: Host) -> None:
    assert status_of(alone, PAGE) == 403


def test_uvicorns_own_options_are_not_for_us() -> None:
    manager = IoTManager(flask.Flask("x"))
    options: list[dict[str, Any]] = [{"proxy_headers": True}, {"forwarded_allow_ips": "*"}]
    for option in options:
        with pytest.raises(TypeError, match=r"Options\(trusted_proxies="):
            manager.start(**option)


@pytest.mark.parametrize("looks_itself", [True, False])
def test_a_foreign_uvicorn_may_look_itself_or_not(looks_itself: bool) -> None:
    app = flask.Flask("x")
    app.add_url_rule("/", view_func=lambda: f"{flask.request.remote_addr} {flask.request.host_url}")
    manager = IoTManager(app, options=options("127.0.0.1"))
    with UvicornThread(manager.asgi, proxy_headers=looks_itself) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", "/", headers=dict(LINES))
            assert connection.getresponse().read() == b"203.0.113.9 https://hub.example/"


def test_on_a_unix_socket(tmp_path: Any) -> None:
    came: list[str] = []

    class Lamp(DeviceType):
        def on_connect(self, client: IoTClient) -> None:
            came.append(str(flask.request.remote_addr))

    manager = IoTManager(flask.Flask("x"), options=options("unix"))
    manager.add_type(Lamp("lamp"))
    path = str(tmp_path / "socket")
    manager.start(uds=path, request_context=True)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(path)
            lines = [("Host", "x"), ("X-Forwarded-For", "203.0.113.9"), *v1_headers("d", "lamp")]
            text = "".join(f"{name}: {value}\r\n" for name, value in lines)
            sock.sendall(
                b"GET /iot.io HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + text.encode() + b"\r\n"
            )
            assert b" 101 " in sock.recv(1000)
            eventually(lambda: came == ["203.0.113.9"])
    finally:
        manager.stop()


def test_the_log_names_the_client(caplog: pytest.LogCaptureFixture) -> None:
    with serve("native", options("127.0.0.1")) as host, caplog.at_level(logging.WARNING):
        with host.peer() as peer:
            assert peer.upgrade(headers=[*v1_headers("d", "nosuch"), *LINES]).status == 101
            peer.expect_frame()
        assert "device at 203.0.113.9:0 refused" in caplog.text

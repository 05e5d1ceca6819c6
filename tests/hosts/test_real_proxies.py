"""nginx, HAProxy and Caddy as they are installed, with what docs/proxies.md has to add to their configuration."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import re
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from iotio import Options
from iotio_client import EndpointConstraint, EndpointInfo, EndpointType, IoTClient
from iotio_protocol import v0, v1, v2
from scripts.tools.debian import CADDY, HAPROXY, NGINX, Tool, ToolUnavailable, tool
from scripts.tools.environments import ROOT
from tests.support.hosts import FAST, LocalHost, eventually, serve
from tests.support.processes import Program, wait_until_listening
from tests.support.v2 import PROTOCOL, V2Device
from tests.support.wire import RawPeer, v1_headers

pytestmark = pytest.mark.slow  # it waits for three other programs, which are the same for every Python

PAGE = (ROOT / "docs" / "proxies.md").read_text(encoding="utf-8")
NAME = "hub.example.com"
OPTIONS = Options(
    trusted_proxies=["127.0.0.1"],
    allowed_hosts=[NAME],
    refusal_delay=FAST.refusal_delay,
    close_timeout=FAST.close_timeout,
)
CLIENT = "127.0.0.2"  # another address than the proxy's, so that it is not trusted


class Proxy(ABC):
    """A proxy before a server, with a port of its own.

    Args:
        program: the proxy.
        folder: for its files.
        server: the server's port.
    """

    language: str
    away: str
    """The configuration while the program behind is taken out and in again: 404 for all."""

    def __init__(self, program: Tool, folder: Path, server: int) -> None:
        self.tool = program
        self.folder = folder
        self.port = lasting_port()
        found = re.search(rf"```{self.language}\n(.*?)```", PAGE, re.DOTALL)
        assert found is not None
        self.added = found[1].replace("127.0.0.1:5000", f"127.0.0.1:{server}")
        self._documented = self.added
        self.start()

    @property
    def installed(self) -> Path:
        """The folder that its package was unpacked into, or /."""
        return self.tool.path.parents[2]

    @abstractmethod
    def configure(self) -> list[str | Path]:
        """Write the configuration; the command that runs the proxy."""

    def start(self, *, away: bool = False) -> None:
        """Start it, with the configuration of the page or with `away`."""
        self.added = self.away if away else self._documented
        environment = {**self.tool.environment, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)}
        self.program = Program([self.tool.path, *self.configure()], environment=environment, folder=self.folder)
        wait_until_listening(self.port, self.program)

    def stop(self) -> None:
        """End it in order: the workers of a killed nginx live on."""
        self.program.terminate()
        self.program.kill()


def lasting_port() -> int:
    """A port that is still free when the proxy is started again: no outgoing connection is ever given it."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
    raise OSError("no port is free")


class Nginx(Proxy):
    language = "nginx"
    away = "server { listen 80; return 404; }"

    def configure(self) -> list[str | Path]:
        """The package's nginx.conf, but with our own folders: it is run without being installed."""
        site = self.added.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        (self.folder / "sites-enabled").mkdir(exist_ok=True)
        (self.folder / "sites-enabled" / "hub").write_text(site)
        places = "".join(
            f"{name}_temp_path {self.folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "sites-enabled" / "places").write_text(places)
        main = (self.installed / "etc" / "nginx" / "nginx.conf").read_text()
        main = re.sub(r"(?m)^(user|pid|include .*modules-enabled).*$", "", main)
        main = main.replace("/etc/nginx/sites-enabled", f"{self.folder}/sites-enabled")
        main = main.replace("/etc/nginx/", f"{self.installed}/etc/nginx/").replace("/var/log/nginx", str(self.folder))
        own = self.folder / "nginx.conf"
        own.write_text(f"daemon off; pid {self.folder}/pid;\n{main}")
        return ["-c", own, "-p", self.folder, "-e", self.folder / "error.log"]


class HAProxy(Proxy):
    language = "haproxy"
    away = "frontend away\n    mode http\n    bind :80\n    http-request return status 404\n"

    def configure(self) -> list[str | Path]:
        """The package's haproxy.cfg, but without what only root may do."""
        added = self.added.replace("bind :80", f"bind 127.0.0.1:{self.port}")
        main = (self.installed / "etc" / "haproxy" / "haproxy.cfg").read_text()
        main = re.sub(r"(?m)^\s*(log\s+/dev|chroot|stats|user|group|daemon|ca-base|crt-base).*$", "", main)
        main = main.replace("/etc/haproxy/", f"{self.installed}/etc/haproxy/")
        line = re.search(r"`(tune.bufsize \d+)`", PAGE)
        assert line is not None
        main = main.replace("global\n", f"global\n    {line[1]}\n", 1)
        own = self.folder / "haproxy.cfg"
        own.write_text(f"{main}\n{added}")
        return ["-f", own, "-db"]


class Caddy(Proxy):
    language = "caddyfile"
    away = f"{NAME} {{\n    respond 404\n}}\n"

    def configure(self) -> list[str | Path]:
        """The page's file, without TLS: nobody would give us a certificate."""
        own = self.folder / "Caddyfile"
        address = f"http://{NAME}:{self.port}, http://127.0.0.1:{self.port}"
        own.write_text("{\n    admin off\n}\n" + self.added.replace(NAME, address))
        return ["run", "--adapter", "caddyfile", "--config", own]


PROXIES: dict[str, tuple[type[Proxy], tuple[str, ...]]] = {
    "nginx": (Nginx, NGINX),
    "haproxy": (HAProxy, HAPROXY),
    "caddy": (Caddy, CADDY),
}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalHost]:
    host = serve("native", OPTIONS)
    assert isinstance(host, LocalHost)
    with host:
        yield host


@pytest.fixture(scope="module", params=PROXIES)
def proxy(
    request: pytest.FixtureRequest, server: LocalHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    kind, package = PROXIES[request.param]
    try:
        program = tool(*package)
    except ToolUnavailable as reason:
        pytest.skip(str(reason))
    if not (program.path.parents[2] / "etc" / request.param).is_dir() and kind is not Caddy:
        pytest.skip(f"{program.path} is no package of Debian's")
    running = kind(program, tmp_path_factory.mktemp(request.param), server.port)
    try:
        yield running
    finally:
        running.stop()


BROWSER = ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")


def test_devices_of_each_version(proxy: Proxy) -> None:
    with RawPeer("127.0.0.1", proxy.port) as peer:
        assert peer.upgrade().status == 101
        peer.send_text(v0.encode_handshake("zero", "echo", {}))
        peer.send_text(v0.encode("same", "hi"))
        assert peer.expect_frame().payload == b'[/"same"/][/"hi"/]'
    with RawPeer("127.0.0.1", proxy.port) as peer:
        assert peer.upgrade(headers=v1_headers("one", "echo")).status == 101
        peer.send_binary(v1.encode("same", "hi"))
        assert peer.expect_frame().payload == v1.encode("same", "hi")
    with V2Device(proxy.port, "two", "echo") as device:
        device.send("same", "hi")
        assert device.expect() == v2.Packet("same", "hi")


@pytest.mark.parametrize(
    ("name", "origin", "let_in"),
    [
        ("127.0.0.1", "http://127.0.0.1:{}", True),
        (NAME, f"http://{NAME}:{{}}", True),
        ("127.0.0.1", "http://evil.example", False),
        ("127.0.0.1", "null", False),
    ],
)
def test_pages(proxy: Proxy, name: str, origin: str, let_in: bool) -> None:
    with RawPeer("127.0.0.1", proxy.port) as peer:
        peer.host = name
        assert peer.upgrade(headers=[("Origin", origin.format(proxy.port)), BROWSER, *PROTOCOL]).status == 101
        peer.send_binary(v2.encode_json(v2.HELLO, {"id": "page", "type": "echo"}))
        packet = v2.decode(peer.expect_frame().payload)
        assert isinstance(packet, v2.Greeting if let_in else v2.Problem)


def test_a_page_that_uses_rest(proxy: Proxy) -> None:
    for origin, status in ((f"http://127.0.0.1:{proxy.port}", 400), ("http://evil.example", 403)):
        headers = {"Origin": origin, "Cookie": "a=b", "Content-Type": "application/json"}
        assert (
            ask(proxy, "POST", "/api/iot.io", headers, b'{"clientId": "x", "endpointId": "e", "data": 1}')[0] == status
        )


def ask(proxy: Proxy, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5, source_address=(CLIENT, 0))
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()


@pytest.mark.parametrize(
    "lie",
    [
        {},
        {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"},
        {"Forwarded": "for=203.0.113.9;proto=https;host=evil.example"},
    ],
)
def test_the_server_knows_who_asks_and_for_what(proxy: Proxy, lie: dict[str, str]) -> None:
    status, body = ask(proxy, "GET", "/where", lie)
    assert status == 200
    assert json.loads(body) == {"address": CLIENT, "url": f"http://127.0.0.1:{proxy.port}"}


class Running:
    """A device that runs in a thread until the end of the context."""

    def __init__(self, proxy: Proxy, version: Literal[1, 2] | None, endpoints: int = 0) -> None:
        self.name = f"running {version}"
        self.device = IoTClient(self.name, "echo", protocol_version=version)
        self.got: list[tuple[str, Any]] = []
        self._changed = threading.Condition()
        for number in range(endpoints):
            info = EndpointInfo(
                f"Endpoint number {number}", EndpointType.INTEGER, constraints=EndpointConstraint(min_v=0, max_v=100)
            )
            self.device.on(f"endpoint_{number}", info)(self._handler(f"endpoint_{number}"))
        self._end: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(f"127.0.0.1:{proxy.port}",), daemon=True)

    def _handler(self, event: str) -> Callable[[Any], None]:
        def handler(message: Any) -> None:
            self.got.append((event, message))

        return handler

    def _run(self, domain: str) -> None:
        try:
            self.device.run(domain, reconnect_delay=0.5)
        except BaseException as error:
            self._end = error

    def __enter__(self) -> Running:
        self._thread.start()
        try:
            self.device.ensure_open(10)
        except Exception:
            raise AssertionError(f"it has ended: {self._end!r}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.device.stop()
        self._thread.join(10)


@pytest.mark.parametrize("version", [1, 2, None])
def test_300_endpoints(proxy: Proxy, server: LocalHost, version: Literal[1, 2] | None) -> None:
    with Running(proxy, version, 300) as running:
        eventually(lambda: server.manager.client(running.name) is not None)  # of v1 the device is not told
        assert server.manager.emit("endpoint_299", 7, running.name)
        eventually(lambda: running.got == [("endpoint_299", 7)])


def test_devices_come_back_when_the_proxy_is_started_again(proxy: Proxy, server: LocalHost) -> None:
    with Running(proxy, 1) as one, Running(proxy, 2) as two:
        before = [server.manager.client(running.name) for running in (one, two)]
        proxy.stop()
        eventually(lambda: not one.device.connected and not two.device.connected)
        proxy.start()
        for running, old in zip((one, two), before, strict=True):
            eventually(lambda: server.manager.client(running.name) not in (None, old), 10)  # noqa: B023


def test_devices_come_back_after_a_redeployment_in_which_the_proxy_says_404(
    proxy: Proxy, server: LocalHost, caplog: pytest.LogCaptureFixture
) -> None:
    with Running(proxy, 1) as one, Running(proxy, 2) as two:
        before = [server.manager.client(running.name) for running in (one, two)]
        proxy.stop()
        proxy.start(away=True)
        eventually(lambda: {one.name, two.name} <= set(said_404(caplog)), 15)
        proxy.stop()
        proxy.start()
        for running, old in zip((one, two), before, strict=True):
            eventually(lambda: server.manager.client(running.name) not in (None, old), 30)  # noqa: B023


def said_404(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The devices whose log has a 404."""
    return [record.name.removeprefix("iotio.client.") for record in caplog.records if "404" in record.getMessage()]

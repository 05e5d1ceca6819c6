"""The upgrade request: the short way through it gives what the long way gives, byte for byte."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Iterator

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request

from iotio.hosts.upgrade import UpgradeRequest, judge, read_again, read_usual, welcome
from iotio_protocol import v1
from tests.support.hosts import LocalHost, serve_local
from tests.support.wire import ACCEPT, KEY, v1_headers

BASE = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
DEVICE = [*BASE.items(), *v1_headers("kitchen", "echo")]


def request(headers: list[tuple[str, str]], start: str = "GET /iot.io HTTP/1.1") -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


@pytest.fixture(scope="module")
def native() -> Iterator[LocalHost]:
    with serve_local("native") as host:
        yield host


def test_the_usual_request() -> None:
    data = request(DEVICE)
    found = read_usual(data + b"\x82\x80")
    assert found is not None
    (path, headers, _), answer, size = found
    assert (path, size) == ("/iot.io", len(data))
    assert headers == [(name.lower(), value) for name, value in DEVICE]
    assert re.sub(rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", b"", answer) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n\r\n"
    )


@pytest.mark.parametrize("start", ["GET /iot.io HTTP/1.1", "GET /iot.io/ HTTP/1.1"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("Upgrade", "WebSocket"), ("connection", "upgrade"), ("Origin", "http://x"), ("IoT-IO-Id", "k\xfcche"), ("A", "")],
)
def test_also_usual(start: str, name: str, value: str) -> None:
    headers = [(key, text) for key, text in DEVICE if key.lower() != name.lower()]
    found = read_usual(request([*headers, (name, value)], start))
    assert found is not None
    assert (name.lower(), value) in found[0].headers


@pytest.mark.parametrize(
    "start",
    [
        "POST /iot.io HTTP/1.1",
        "GET /iot.io HTTP/1.0",
        "GET /iot.io?a=b HTTP/1.1",
        "GET /iot.iox HTTP/1.1",
        "GET http://x/iot.io HTTP/1.1",
        "GET  /iot.io HTTP/1.1",
    ],
)
def test_another_start_is_left_to_others(start: str) -> None:
    assert read_usual(request(DEVICE, start)) is None


@pytest.mark.parametrize("name", BASE)
def test_a_missing_header_is_left_to_others(name: str) -> None:
    assert read_usual(request([pair for pair in DEVICE if pair[0] != name])) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upgrade", "h2c"),
        ("Connection", "keep-alive, Upgrade"),
        ("Connection", "close"),
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Key", "short=="),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZ==="),
        ("Content-Length", "2"),
        ("Transfer-Encoding", "chunked"),
        ("Expect", "100-continue"),
        ("Sec-WebSocket-Protocol", "a b"),
        ("Bad name", "x"),
        ("", "x"),
        ("A", "\x00"),
        ("A", "b\rc"),
        ("A", "b\nc"),
        ("A", "b\r\n c"),
    ],
)
def test_a_doubtful_header_is_left_to_others(name: str, value: str) -> None:
    headers = [pair for pair in DEVICE if pair[0] != name]
    assert read_usual(request([*headers, (name, value)])) is None


@pytest.mark.parametrize("name", ["Sec-WebSocket-Key", "host", "IoT-IO-Id"])
def test_a_name_that_occurs_twice_is_left_to_others(name: str) -> None:
    assert read_usual(request([*DEVICE, (name, dict(BASE).get(name, "x"))])) is None


def test_a_part_of_a_request_is_left_to_others() -> None:
    data = request(DEVICE)
    assert not any(read_usual(data[:size]) for size in range(len(data)))


class LongWay:
    """What uvicorn's parser makes of a request: the text that it writes again."""

    def __init__(self, data: bytes) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._url = b""
        parser = httptools.HttpRequestParser(self)
        with pytest.raises(httptools.HttpParserUpgrade):
            parser.feed_data(data)
        lines = [b"%s: %s\r\n" % pair for pair in self._headers]
        self.text = b"%s %s HTTP/1.1\r\n%s\r\n" % (parser.get_method(), self._url, b"".join(lines))

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))


NAMES = st.sampled_from([*BASE, "connection", "IoT-IO-Id", "Origin", "A!#~", "Cookie", "Content-Length", "a b", "Ä"])
VALUES = st.sampled_from([*BASE.values(), "upgrade", "WebSocket", " x\t", "", "é", "\x7f", "\x00", "a\nb", "0", ":"])
EXTRA = st.lists(st.tuples(NAMES, VALUES), max_size=4)


@given(extra=EXTRA, replaced=st.booleans())
def test_what_is_usual_passes_the_long_way_too(extra: list[tuple[str, str]], replaced: bool) -> None:
    names = {name for name, _ in extra} if replaced else set()
    data = request([*(pair for pair in DEVICE if pair[0] not in names), *extra])
    found = read_usual(data)
    if found is not None:
        long_way = read_again(LongWay(data).text)
        assert found[0] == UpgradeRequest(long_way.path, list(long_way.headers.raw_items()))
        assert without_date(judge(long_way).serialize()) == without_date(found[1])


def without_date(answer: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]*\r\n", b"", answer)


def test_the_date_is_that_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    for second, text in [(0, b"Thu, 01 Jan 1970 00:00:00 GMT"), (0.9, b"00:00:00 GMT"), (1.1, b"00:00:01 GMT")]:
        monkeypatch.setattr("time.time", lambda second=second: second)
        assert text in welcome(KEY)


@pytest.mark.parametrize("cut", [10, 60, -3, -1, None])
def test_both_ways_lead_to_the_same(native: LocalHost, cut: int | None) -> None:
    """In one piece with a message behind it, and cut in two."""
    packet = v1.encode("same", "x")
    message = bytes((0x82, 0x80 | len(packet), 0, 0, 0, 0)) + packet
    data = request([*BASE.items(), *v1_headers(f"cut-{cut}", "echo")])
    with native.peer() as peer:
        if cut is None:
            peer.send_bytes(data + message)
        else:
            peer.send_bytes(data[:cut])
            native.request("GET", "/hello")  # the server has read the first piece by now
            peer.send_bytes(data[cut:] + message)
        response = peer.recv_response()
        assert response.status == 101
        assert list(response.headers) == ["date", "upgrade", "connection", "sec-websocket-accept"]
        assert v1.decode(peer.expect_frame().payload) == ("same", "x")


def test_nothing_is_kept_of_a_request_that_is_refused() -> None:
    class Kept(Request):
        """A request that can be watched."""

    request = Kept("/iot.io", Headers({"Host": "x"}))
    gone = weakref.ref(request)
    assert judge(request).status_code >= 400
    del request
    gc.collect()  # an exception and its frames are a circle
    assert gone() is None

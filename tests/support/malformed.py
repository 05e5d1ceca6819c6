"""Requests that no server should be sent."""

from __future__ import annotations

UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
HOST = b"Host: x\r\n"
CHUNKED = b"POST /state HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"

REQUESTS: dict[str, bytes] = {
    "nothing": b"",
    "empty lines": b"\r\n" * 100,
    "tls hello": bytes.fromhex("16030100c8010000c40303") + bytes(range(200)),
    "rubbish": bytes(range(256)) * 20,
    "nul": b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "bad method": b"G\xffT / HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown method": b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET /\r\n\r\n",
    "bad version": b"GET / HTTP/9.9.9\r\n\r\n",
    "version of words": b"GET / HTTP/one\r\n\r\n",
    "huge version": b"GET / HTTP/" + b"1" * 5000 + b".1\r\n\r\n",
    "four words": b"GET / x HTTP/1.1\r\n\r\n",
    "long line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "endless header": b"GET / HTTP/1.1\r\nX: " + b"a" * 300_000,
    "many headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    "space in a name": b"GET / HTTP/1.1\r\nHost : x\r\nA b: c\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
    "leading fold": b"GET / HTTP/1.1\r\n y: z\r\n\r\n",
    "nul in a header": b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "latin-1 path": b"GET /caf\xe9 HTTP/1.1\r\n" + HOST + b"\r\n",
    "bad percents": b"GET /%ff%zz%00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute": b"GET http://[::1/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute port": b"GET http://x:99999999/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "double slash": b"GET //[x HTTP/1.1\r\n" + HOST + b"\r\n",
    "bad host": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "host of control characters": b"GET / HTTP/1.1\r\nHost: \x1b[31m\x85\r\n\r\n",
    "bad length": b"POST /state HTTP/1.1\r\n" + HOST + b"Content-Length: nine\r\n\r\n",
    "negative length": b"POST /state HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\nabc",
    "two lengths": b"POST /state HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nabc",
    "huge length": b"POST /call HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc",
    "cut body": b"POST /call HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
    "expectation": b"POST /call HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    "odd expectation": b"POST /call HTTP/1.1\r\n" + HOST + b"Expect: a miracle\r\nContent-Length: 5\r\n\r\n",
    "bad chunk": CHUNKED.replace(b"/state", b"/call") + b"zz\r\nabc\r\n0\r\n\r\n",
    "negative chunk": CHUNKED.replace(b"/state", b"/call") + b"-5\r\nabc\r\n0\r\n\r\n",
    "huge chunk": CHUNKED.replace(b"/state", b"/call") + b"f" * 100 + b"\r\nabc\r\n0\r\n\r\n",
    "cut chunk": CHUNKED.replace(b"/state", b"/call") + b"5\r\nab",
    "both lengths": b"POST /call HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    "unknown encoding": b"POST /call HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: x\r\n\r\nabc",
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "star": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "connect": b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "upgrade without a key": b"GET /iot.io HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "upgrade to an odd version": b"GET /iot.io HTTP/1.1\r\n" + HOST + UPGRADE.replace(b"13", b"x" * 50) + b"\r\n",
    "upgrade with a bad key": b"GET /iot.io HTTP/1.1\r\n" + HOST + UPGRADE.replace(b"dGhl", b"\xff\xff") + b"\r\n",
    "upgrade by post": b"POST /iot.io HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n",
    "upgrade of http 1.0": b"GET /iot.io HTTP/1.0\r\n" + HOST + UPGRADE + b"\r\n",
    "upgrade elsewhere": b"GET /elsewhere HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n",
    "upgrade with odd headers": b"GET /iot.io HTTP/1.1\r\n" + HOST + UPGRADE + b"IoT-IO-Device-ID: \xff\xfe\r\n\r\n",
    "upgrade and rubbish": b"GET /iot.io HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n" + b"\xff" * 5000,
    "upgrade to a protocol of rubbish": b"GET /iot.io HTTP/1.1\r\n"
    + HOST
    + UPGRADE
    + b"Sec-WebSocket-Protocol: \xff,,\x01\r\n\r\n",
    "upgrade to an odd extension": b"GET /iot.io HTTP/1.1\r\n"
    + HOST
    + UPGRADE
    + b"Sec-WebSocket-Extensions: ;;=\xff\r\n\r\n",
}
"""What each is called, and its bytes; the peer ends its side behind them, or resets the connection."""

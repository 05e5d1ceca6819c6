"""A WebSocket peer over a plain socket, for tests that state exact bytes.

It knows RFC 6455 framing and nothing else: it sends what it is told, also what is wrong, and hands out every
frame as it came. Every wait has a deadline and ends in ``TimeoutError``.

    from tests.support.wire import RawPeer, v1_headers

    with RawPeer("127.0.0.1", port) as peer:
        assert peer.upgrade(headers=v1_headers("kitchen", "echo")).status == 101
        peer.send_frame(Opcode.BINARY, packet)
        assert peer.recv_frame() == Frame(True, 0, Opcode.BINARY, packet)
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType
from typing import Self

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The sample key of RFC 6455 1.3, sent in every upgrade request."""

ACCEPT = base64.b64encode(
    hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode(), usedforsecurity=False).digest()
).decode()

DEFAULT_MASK = b"\x01\x02\x03\x04"

Headers = Iterable[tuple[str, str]]


class Opcode(IntEnum):
    """Frame opcodes, RFC 6455 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class WireError(Exception):
    """The server sent what no server may send; the message says what."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response: header names in lower case, of repeated ones the last."""

    status: int
    headers: dict[str, str]
    reason: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came; ``rsv`` holds the three reserved bits as a number from 0 to 7."""

    fin: bool
    rsv: int
    opcode: int
    payload: bytes = field(default=b"")

    @property
    def close_code(self) -> int | None:
        """The code of a CLOSE frame, None where it carries none."""
        return int.from_bytes(self.payload[:2], "big") if len(self.payload) >= 2 else None

    @property
    def close_reason(self) -> str:
        """The reason of a CLOSE frame."""
        return self.payload[2:].decode()


def v1_headers(
    client_id: str,
    client_type: str,
    data: object = None,
    endpoints: object = None,
    version: str = "1",
) -> list[tuple[str, str]]:
    """The five headers of a v1 device, in the order and form in which iot.io-client 0.4.12 sends them."""
    return [
        ("IoT-IO-Id", client_id),
        ("IoT-IO-Type", client_type),
        ("IoT-IO-Data", json.dumps({} if data is None else data)),
        ("IoT-IO-Endpoints", json.dumps([] if endpoints is None else endpoints)),
        ("IoT-IO-ProtocolVersion", version),
    ]


def encode_frame(
    opcode: int, payload: bytes, *, fin: bool = True, mask: bytes | None = DEFAULT_MASK, rsv: int = 0
) -> bytes:
    """One frame as bytes, masked unless `mask` is None."""
    head = bytearray([fin << 7 | rsv << 4 | opcode])
    mask_bit = 0 if mask is None else 0x80
    length = len(payload)
    if length < 126:
        head.append(mask_bit | length)
    elif length < 1 << 16:
        head.append(mask_bit | 126)
        head += struct.pack("!H", length)
    else:
        head.append(mask_bit | 127)
        head += struct.pack("!Q", length)
    if mask is None:
        return bytes(head) + payload
    return bytes(head) + mask + apply_mask(payload, mask)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """XOR with the repeated four bytes of `mask`."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class RawPeer:
    """One TCP connection to a server, as a context manager.

    Args:
        host: name or address of the server.
        port: its port.
        timeout: seconds, the deadline of each operation that is not given its own.
        tls: speak TLS, and trust what this trusts.
    """

    def __init__(self, host: str, port: int, *, timeout: float = 5.0, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port
        self.timeout = timeout
        self._buffer = bytearray()
        self._eof = False
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=host)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the TCP connection, with no CLOSE frame. Harmless when called twice."""
        self.socket.close()

    def reset(self) -> None:
        """Close the TCP connection by RST, as a device that loses its power and comes back does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def half_close(self) -> None:
        """Send FIN; reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    # Writing.

    def send_bytes(self, data: bytes) -> None:
        """Send `data` as it is."""
        self.socket.settimeout(self.timeout)
        self.socket.sendall(data)

    def send_frame(
        self,
        opcode: int,
        payload: bytes = b"",
        fin: bool = True,
        mask: bytes | None = DEFAULT_MASK,
        rsv: int = 0,
    ) -> None:
        """Send one frame."""
        self.send_bytes(encode_frame(opcode, payload, fin=fin, mask=mask, rsv=rsv))

    def send_text(self, text: str) -> None:
        """Send one whole text message."""
        self.send_frame(Opcode.TEXT, text.encode())

    def send_binary(self, payload: bytes) -> None:
        """Send one whole binary message."""
        self.send_frame(Opcode.BINARY, payload)

    def send_close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a CLOSE frame, empty where `code` is None."""
        payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
        self.send_frame(Opcode.CLOSE, payload)

    # The upgrade.

    def request_bytes(self, path: str = "/iot.io", headers: Headers = (), *, method: str = "GET") -> bytes:
        """The upgrade request with `headers` at its end, sent as UTF-8."""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Version: 13",
            *(f"{name}: {value}" for name, value in headers),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def upgrade(self, path: str = "/iot.io", headers: Headers = (), leftover: bytes = b"") -> Response:
        """Send the upgrade request and read the answer.

        Args:
            path: request target, with query if there is one.
            headers: sent after those of RFC 6455.
            leftover: bytes that leave in the same segment, right after the request.

        Raises:
            WireError: 101 with a wrong Sec-WebSocket-Accept, or an answer that is not HTTP.
        """
        self.send_bytes(self.request_bytes(path, headers) + leftover)
        response = self.recv_response()
        if response.status == 101 and response.headers.get("sec-websocket-accept") != ACCEPT:
            raise WireError(f"wrong Sec-WebSocket-Accept in {response.headers}")
        return response

    def recv_response(self, timeout: float | None = None) -> Response:
        """Read one HTTP response; its body only as far as Content-Length tells."""
        deadline = self._deadline(timeout)
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if not self._fill(deadline):
                raise WireError(f"stream ended inside a response head: {bytes(self._buffer)!r}")
        head = self._take(end + 4).decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        version, status, *reason = status_line.split(" ", 2)
        if not version.startswith("HTTP/1."):
            raise WireError(f"not an HTTP response: {status_line!r}")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        size = 0 if int(status) == 101 else int(headers.get("content-length", "0"))
        while len(self._buffer) < size:
            if not self._fill(deadline):
                raise WireError("stream ended inside a response body")
        return Response(int(status), headers, " ".join(reason), self._take(size))

    # Reading.

    def recv_frame(self, timeout: float | None = None) -> Frame | None:
        """The next frame, or None where the server has ended the stream between two frames.

        Raises:
            TimeoutError: neither came within `timeout` seconds (default: that of the peer).
            ConnectionResetError: the server ended it by RST.
            WireError: the frame is masked, or the stream ended inside it.
        """
        deadline = self._deadline(timeout)
        if not self._need(2, deadline):
            return None
        first, second = self._buffer[0], self._buffer[1]
        if second & 0x80:
            raise WireError("masked frame from the server")
        size, start = second & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            self._need(start, deadline)
            size = int.from_bytes(self._buffer[2:start], "big")
        self._need(start + size, deadline)
        payload = self._take(start + size)[start:]
        return Frame(bool(first & 0x80), first >> 4 & 7, first & 0x0F, payload)

    def expect_frame(self, timeout: float | None = None) -> Frame:
        """Like `recv_frame`, but the end of the stream is a `WireError`."""
        frame = self.recv_frame(timeout)
        if frame is None:
            raise WireError("stream ended where a frame was expected")
        return frame

    def recv_frames_until_eof(self, timeout: float | None = None) -> list[Frame]:
        """All frames up to the end of the stream; `timeout` is for the whole."""
        deadline = self._deadline(timeout)
        frames = []
        while (frame := self.recv_frame(max(0.0, deadline - time.monotonic()))) is not None:
            frames.append(frame)
        return frames

    def recv_all_until_eof(self, timeout: float | None = None) -> bytes:
        """All bytes up to the end of the stream, whatever they are; `timeout` is for the whole."""
        deadline = self._deadline(timeout)
        while self._fill(deadline):
            pass
        return self._take(len(self._buffer))

    def quiet_for(self, seconds: float) -> bool:
        """Whether nothing comes, neither a byte nor the end, for `seconds`. For "is not answered" only."""
        if self._buffer or self._eof:
            return False
        try:
            self._fill(time.monotonic() + seconds)
        except TimeoutError:
            return True
        return False

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _need(self, size: int, deadline: float) -> bool:
        """Buffer `size` bytes; False where the stream has ended before the first."""
        while len(self._buffer) < size:
            if not self._fill(deadline):
                if self._buffer:
                    raise WireError(f"stream ended inside a frame: {bytes(self._buffer)!r}")
                return False
        return True

    def _fill(self, deadline: float) -> bool:
        """Read once; False at the end of the stream."""
        if self._eof:
            return False
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"nothing from the server in time; buffered: {bytes(self._buffer[:200])!r}")
        self.socket.settimeout(left)
        data = self.socket.recv(1 << 16)
        if not data:
            self._eof = True
            return False
        self._buffer += data
        return True

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

"""A server that does what a test tells it, byte for byte, over a plain or a TLS socket."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from iotio_protocol import v1, v2
from tests.support.wire import Frame, Opcode, apply_mask, encode_frame

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TIMEOUT = 10.0  # seconds that any wait of a test may take


class Peer:
    """The server's end of one connection. Every read has a deadline."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.socket = sock
        self.number = number
        self.head = b""
        self._buffer = bytearray()

    # The upgrade.

    def read_request(self) -> bytes:
        """The request's head as it came."""
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        end = self._buffer.index(b"\r\n\r\n") + 4
        self.head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return self.head

    def device_lines(self) -> list[bytes]:
        """The IoT-IO lines of the request, in order."""
        return [line for line in self.head.split(b"\r\n") if line.startswith(b"IoT-IO-")]

    def accept(self, leftover: bytes = b"", *, subprotocol: str = "") -> Self:
        """Answer 101, with `leftover` in the same segment; agree on no subprotocol, as a v1 server, or on this one."""
        self.read_request()
        found = re.search(rb"(?i)sec-websocket-key: *([^\r]+)", self.head)
        assert found
        digest = hashlib.sha1(found[1] + _GUID.encode(), usedforsecurity=False).digest()
        self.socket.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: "
            + base64.b64encode(digest)
            + (f"\r\nSec-WebSocket-Protocol: {subprotocol}".encode() if subprotocol else b"")
            + b"\r\n\r\n"
            + leftover
        )
        return self

    def greet(self, **fields: Any) -> dict[str, Any]:
        """Accept a v2 device, take its HELLO and answer WELCOME with these fields. Returns those of HELLO."""
        self.accept(subprotocol=v2.SUBPROTOCOL)
        greeting = self.recv_v2()
        assert isinstance(greeting, v2.Greeting)
        assert not greeting.welcome
        self.send(Opcode.BINARY, v2.encode_json(v2.WELCOME, {"server": "fake", "time": 1_767_225_600_000} | fields))
        return greeting.fields

    def answer(self, status: int, more: str = "") -> None:
        """Answer with another status."""
        self.read_request()
        self.socket.sendall(f"HTTP/1.1 {status} Some Reason\r\nContent-Length: 0\r\n{more}\r\n".encode())

    # Frames.

    def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes | None = None) -> None:
        self.socket.sendall(encode_frame(opcode, payload, fin=fin, mask=mask))

    def packet(self, event: str, value: Any) -> None:
        self.send(Opcode.BINARY, v1.encode(event, value))

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send CLOSE, wait for the answer, end TCP."""
        self.send(Opcode.CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode())
        while self.recv().opcode != Opcode.CLOSE:
            pass

    def recv(self) -> Frame:
        """The next frame of the device.

        Raises:
            EOFError: there is none.
        """
        self._need(2)
        first, second = self._buffer[0], self._buffer[1]
        assert second & 0x80, "a client must mask"
        size, start = second & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            self._need(start)
            size = int.from_bytes(self._buffer[2:start], "big")
        self._need(start + 4 + size)
        mask = bytes(self._buffer[start : start + 4])
        payload = apply_mask(bytes(self._buffer[start + 4 : start + 4 + size]), mask)
        del self._buffer[: start + 4 + size]
        return Frame(bool(first & 0x80), first >> 4 & 7, first & 0x0F, payload)

    def recv_packet(self) -> tuple[str, Any]:
        """The next binary message, decoded; control frames before it are an error."""
        frame = self.recv()
        assert frame.opcode == Opcode.BINARY, frame
        return v1.decode(frame.payload)

    def recv_v2(self) -> v2.Decoded:
        """The next message as a packet of v2."""
        frame = self.recv()
        assert frame.opcode == Opcode.BINARY, frame
        return v2.decode(frame.payload)

    def recv_close(self) -> int | None:
        """The code of the device's CLOSE, which must be the next frame; it is answered."""
        frame = self.recv()
        assert frame.opcode == Opcode.CLOSE, frame
        self.send(Opcode.CLOSE, frame.payload)
        return frame.close_code

    def wait_eof(self) -> None:
        """Wait until the device ends TCP, by FIN or RST; whatever comes before is dropped."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass

    def reset(self) -> None:
        """End TCP by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _need(self, size: int) -> None:
        while len(self._buffer) < size:
            self._fill()

    def _fill(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError(f"the device ended TCP; buffered: {bytes(self._buffer)!r}")
        self._buffer += data


Script = Callable[[Peer], object]


class FakeServer:
    """Listens on a port of its own and plays one script for each connection, the last one again and again.

    A script that raises fails the test when the server is left; TCP is ended after each script.
    """

    def __init__(self, *scripts: Script, context: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.domain = f"127.0.0.1:{self.port}"
        self.connections = 0
        self._errors: list[BaseException] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._accepter = threading.Thread(target=self._accept, name="fake-server")

    def __enter__(self) -> Self:
        self._accepter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepter.join(TIMEOUT)
        for thread in self._threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive(), "a script does not end"
        for sock in self._sockets:
            sock.close()
        if error is None and self._errors:
            raise self._errors[0]

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(TIMEOUT)
            self.connections += 1
            thread = threading.Thread(target=self._play, args=(sock, self.connections))
            self._threads.append(thread)
            thread.start()

    def _play(self, sock: socket.socket, number: int) -> None:
        try:
            if self._context is not None:
                try:
                    sock = self._context.wrap_socket(sock, server_side=True)
                except (ssl.SSLError, ConnectionError):
                    return  # the device did not like the certificate, or speaks plain
            self._scripts[min(number, len(self._scripts)) - 1](Peer(sock, number))
        except BaseException as error:
            if not self._closing or isinstance(error, AssertionError):
                self._errors.append(error)
        finally:
            sock.close()

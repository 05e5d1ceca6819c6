"""The events of a foreign ASGI server, as a transport for a connection of the native host."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import Any

from iotio_protocol.frames import BINARY, CLOSE, TEXT
from iotio_protocol.logs import get_logger
from iotio_protocol.reasons import DisconnectReason

from ..native.connection import NativeConnection
from ..timing import PIECE
from .messages import client_frame, server_frames
from .types import Receive, Send

__all__ = ["AsgiTransport"]

logger = get_logger("iotio.hosts")

_NO_STATUS, _ABNORMAL, _SERVICE_RESTART = 1005, 1006, 1012  # RFC 6455, 7.4.1, and IANA's registry
_REASONS = {
    None: DisconnectReason.TRANSPORT_CLOSED,
    _NO_STATUS: DisconnectReason.TRANSPORT_CLOSED,
    _ABNORMAL: DisconnectReason.TRANSPORT_CLOSED,
    _SERVICE_RESTART: DisconnectReason.SERVER_SHUTDOWN,  # what uvicorn says while it goes down
    1002: DisconnectReason.PROTOCOL_ERROR,  # the server's own findings come in this way
    1007: DisconnectReason.PROTOCOL_ERROR,
    1009: DisconnectReason.PROTOCOL_ERROR,
}
"""Close codes, as the server has them, and the reasons for `on_disconnect`. Any other code is the device's own."""

_HIGH = 64 * 1024  # bytes that wait for the server before its slowness counts, as in asyncio's transports
_LOW = 16 * 1024
_LAST_WORD = 1.0  # seconds for a CLOSE event in a task that was cancelled
_SILENT = 2.0  # seconds in which a server that can no longer send has said so on the reading side too


class AsgiTransport(asyncio.Transport):
    """Carry the frames of a `NativeConnection` as events of ASGI, as its transport. Lives on the loop's thread.

    Args:
        receive: the server's.
        send: the server's; it waits while the network is slow, so one task at a time calls it.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._send = send
        self._connection: NativeConnection | None = None
        self._waiting: deque[tuple[dict[str, Any], int]] = deque()
        self._size = 0  # bytes in it, and in the event that is being sent
        self._slow = False  # the connection has been told that too many bytes wait to be sent
        self._writer: asyncio.Task[None] | None = None
        self._said_close = False  # nothing may be sent behind it
        self._closing = False
        self._broken = False  # the server takes no more events
        self._silence: asyncio.TimerHandle | None = None
        self._readable = asyncio.Event()
        self._readable.set()
        self._code: int | None = None
        self._over = asyncio.Event()

    async def serve(self, connection: NativeConnection) -> None:
        """Serve a device until its WebSocket is gone, or the connection has closed or aborted this transport."""
        self._connection = connection
        reader = self._loop.create_task(self._read(connection))
        try:
            connection.start()
            connection.flush()
            await self._over.wait()
        except asyncio.CancelledError:
            self._code = _SERVICE_RESTART  # the server takes its task away: it goes down
            await self._say_last(connection)
            raise
        finally:
            self._broken = True
            self._waiting.clear()
            for task in (reader, self._writer):
                if task is not None:
                    task.cancel()
            if self._silence is not None:
                self._silence.cancel()
            reason = _REASONS.get(self._code, DisconnectReason.CLIENT_CLOSE)
            connection.session.close_code = self._code or 0
            if reason is DisconnectReason.SERVER_SHUTDOWN:
                connection.close(reason)
            connection.ended(reason)

    async def _say_last(self, connection: NativeConnection) -> None:
        """Send the device a CLOSE before its task ends, if the server still takes events."""
        connection.close(DisconnectReason.SERVER_SHUTDOWN)
        connection.flush()
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=_LAST_WORD)

    async def _read(self, connection: NativeConnection) -> None:
        try:
            for count in itertools.count(1):
                if not count % PIECE:
                    await asyncio.sleep(0)  # a server that has more already lets nobody else have a turn
                event = await self._receive()
                if event["type"] != "websocket.receive":
                    self._code = event.get("code", _NO_STATUS)
                    return
                message = event.get("bytes")
                connection.received(client_frame(event["text"] if message is None else message))
                await self._readable.wait()
        except Exception as error:
            connection.log_throttle.error(error, "read", "device %r can no longer be read", connection.name)
        finally:
            self._over.set()

    # -- what the connection calls ---------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send whole frames; PINGs and PONGs are left out: they are the server's business."""
        for opcode, payload in server_frames(bytes(data)):
            if self._said_close or self._broken:
                return
            if opcode == BINARY:
                event: dict[str, Any] = {"type": "websocket.send", "bytes": payload}
            elif opcode == TEXT:
                event = {"type": "websocket.send", "text": payload.decode()}
            elif opcode == CLOSE:
                self._said_close = True
                code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode()
                event = {"type": "websocket.close", "code": code, "reason": reason}
            else:
                continue
            self._waiting.append((event, len(payload)))
            self._size += len(payload)
        if self._waiting and self._writer is None:
            self._writer = self._loop.create_task(self._drain())
        if self._size > _HIGH and not self._slow and self._connection is not None:
            self._slow = True
            self._connection.pause_writing()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                event, size = self._waiting.popleft()
                await self._send(event)
                self._size -= size
                if self._slow and self._size <= _LOW and self._connection is not None:
                    self._slow = False
                    self._connection.resume_writing()
        except Exception as error:  # each server has its own for a peer that is gone; the reading side tells why
            logger.debug("a device can no longer be sent to: %r", error)
            self._broken = True
            self._waiting.clear()
            self._silence = self._loop.call_later(_SILENT, self._over.set)
        finally:
            self._writer = None
            if self._closing:
                self._over.set()

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that wait for the ASGI server to take them."""
        return self._size

    def can_write_eof(self) -> bool:
        """Return whether our end may be sent before the peer's: yes, the CLOSE event is that."""
        return True

    def write_eof(self) -> None:
        """Do nothing: the CLOSE of the session has been written, the server's answer to it is awaited."""

    def close(self) -> None:
        """End the serving once all events that wait are sent."""
        self._closing = True
        if self._writer is None:
            self._over.set()

    def abort(self) -> None:
        """End the serving now."""
        self._closing = True
        self._over.set()

    def is_closing(self) -> bool:
        """Return whether the serving has ended or is about to."""
        return self._closing or self._broken

    def pause_reading(self) -> None:
        """Take no more events from the server, which then reads no more from the network."""
        self._readable.clear()

    def resume_reading(self) -> None:
        """Take events again."""
        self._readable.set()

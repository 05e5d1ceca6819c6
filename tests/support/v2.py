"""A v2 device by hand, for tests that say what each side sends.

with V2Device(host.port, "kitchen", "calling") as device:
    device.send("same", 5, v2.CALL, call=7)
    assert device.expect() == v2.Packet("", 5, v2.RESULT, 7)
"""

from __future__ import annotations

import ssl
import time
from typing import Any

from iotio_protocol import v2
from tests.support.wire import Headers, Opcode, RawPeer

__all__ = ["PROTOCOL", "V2Device", "asking_for"]


def asking_for(*names: str) -> Headers:
    """The header by which a device asks for subprotocols."""
    return [("Sec-WebSocket-Protocol", ", ".join(names))]


PROTOCOL = asking_for(v2.SUBPROTOCOL)


class V2Device(RawPeer):
    """A device that has got its WELCOME, as a context manager.

    Args:
        port: the server's.
        client_id: its id.
        client_type: its type.
        fields: of HELLO, beside these.
        host: the server's name.
        timeout: seconds, the deadline of each operation that is not given its own.
        tls: speak TLS, and trust what this trusts.

    Attributes:
        id: its id.
        welcome: the fields of WELCOME.
    """

    def __init__(
        self,
        port: int,
        client_id: str,
        client_type: str = "calling",
        fields: dict[str, object] | None = None,
        *,
        host: str = "127.0.0.1",
        timeout: float = 5.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(host, port, timeout=timeout, tls=tls)
        self.id = client_id
        try:
            response = self.upgrade(headers=PROTOCOL)
            assert response.headers.get("sec-websocket-protocol") == v2.SUBPROTOCOL, response
            self.send_packet(v2.encode_json(v2.HELLO, {"id": client_id, "type": client_type, **(fields or {})}))
            packet = self.expect()
            assert isinstance(packet, v2.Greeting), packet
            assert packet.welcome
            self.welcome = packet.fields
        except BaseException:
            self.close()
            raise

    def send_packet(self, packet: bytes) -> None:
        """Send the bytes of one packet."""
        self.send_frame(Opcode.BINARY, packet)

    def send(self, event: str, value: Any = None, flags: int = 0, *, call: int = 0) -> None:
        """Send an event or a call."""
        self.send_packet(v2.encode(event, value, flags, call=call))

    def expect(self, timeout: float | None = None) -> v2.Decoded:
        """The next packet; a PING on the way is answered."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            frame = self.expect_frame(deadline - time.monotonic())
            if frame.opcode == Opcode.PING:
                self.send_frame(Opcode.PONG, frame.payload)
                continue
            assert frame.opcode == Opcode.BINARY, frame
            return v2.decode(frame.payload)

    def expect_call(self, event: str, value: Any = None) -> int:
        """The next packet must be this call. Returns its number."""
        packet = self.expect()
        assert isinstance(packet, v2.Packet), packet
        assert (packet.event, packet.value, packet.flags) == (event, value, v2.CALL)
        return packet.call

    def answer(self, number: int, value: Any = None) -> None:
        """The result of a call."""
        self.send("", value, v2.RESULT, call=number)

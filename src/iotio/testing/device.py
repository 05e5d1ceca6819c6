"""A device in the test's own process, which speaks any of the protocols."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from math import ceil
from typing import Any, Self

from iotio.core.manager import Manager
from iotio.core.primitives import allocate_lock
from iotio.core.refusals import Refusal
from iotio_protocol import v2
from iotio_protocol.calls import error_of, failure, fault_of
from iotio_protocol.errors import (
    CallDisconnected,
    CallFault,
    CallsUnsupported,
    CallTimeout,
    ErrorCode,
    HandshakeError,
    IoTError,
)
from iotio_protocol.frames import BINARY, TEXT, encode_frame
from iotio_protocol.readings import REPORT
from iotio_protocol.reasons import DisconnectReason

from .clock import VirtualClock
from .host import DeviceStream, host_of
from .outbox import Outbox
from .wire import CLOSE, PING, PONG, Identity, Wire, client_frame, frames_of

__all__ = ["FakeDevice", "Refused"]

_CLIENT_CLOSE = client_frame(CLOSE, (1000).to_bytes(2, "big"))
_MAX_SLEEP = 2**32 - 1  # seconds: what SLEEP can say
_ENDS = {
    DisconnectReason.CLIENT_CLOSE: _CLIENT_CLOSE,
    DisconnectReason.TRANSPORT_CLOSED: b"",
    DisconnectReason.PROTOCOL_ERROR: encode_frame(BINARY, b""),  # a frame that is not masked
}


class Refused(IoTError):
    """The server refuses a device, or something that it has sent.

    Attributes:
        code: why, an `ErrorCode`; of a server that goes down, "server_shutdown".
        info: more about it, or None.
    """

    def __init__(self, code: str, info: object, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.info = info


class FakeDevice:
    """A device without a network, for tests; `IoTManager.test_client` makes one that is connected.

    Its bytes are those of a real device, and the server's own code reads and answers them. Every method returns when
    the server has done what it causes: the handlers have run. What they raise is raised by the method.

    Use it in a `with` block, which ends by `close`, or by the fixture `iotio_device`.

    Args:
        manager: the server's; it must not be serving.
        client_id: the device's id.
        client_type: the name of its type.
        data: what it says of itself.
        endpoints: its declarations as they travel, such as `EndpointInfo.get_info` returns them.
        protocol: 2, as iotio_client speaks it; 1, as iot.io 0.4 does; or 0, the text protocol before that.

    Raises:
        Refused: the server refuses the device; the text says what to do.
        RuntimeError: the manager serves, or is closed.
        ValueError: there is no such protocol, or an argument is wrong.
        EncodeError: the protocol cannot carry what the device says of itself (a ValueError).
    """

    def __init__(
        self,
        manager: Manager,
        client_id: str,
        client_type: str,
        data: dict[str, Any] | None = None,
        endpoints: Iterable[Mapping[str, object]] = (),
        *,
        protocol: int = 2,
    ) -> None:
        if protocol not in (0, 1, 2):
            raise ValueError(f"protocol must be 0, 1 or 2, not {protocol!r}")
        said: tuple[tuple[str, object], ...] = (("client_id", client_id), ("client_type", client_type))
        for name, value in said:
            if not isinstance(value, str) or not value.isprintable():  # no client would send it
                raise ValueError(f"{name} must be a str without control characters, not {value!r}")
        self._identity = Identity(client_id, client_type, {} if data is None else data, list(endpoints))
        self._protocol = protocol
        self._wire = Wire(protocol, manager.codec)
        self._manager = manager
        self._stream: DeviceStream | None = None
        self._functions: dict[str, Callable[[Any], Any]] = {}
        self._reported: dict[str, Any] = {}  # the last value of each endpoint
        self._frozen = self._closed = False
        self._reading = allocate_lock()  # for what follows
        self._inbox: list[tuple[str, Any]] = []
        self._answers: dict[int, v2.Packet] = {}
        self._called: list[v2.Packet] = []
        self._problem: tuple[str, object] | None = None
        self._said_goodbye = ""  # the words of the server's CLOSE frame
        self._heard: tuple[str, int] | None = None  # of the server's stream of durable messages
        self._outbox = Outbox()
        self._number = 0  # of the last call
        self._host = host_of(manager)
        self._host.add(self)
        try:
            self.connect()
        except BaseException:  # nobody gets this object
            self.close()
            raise

    # -- what it is ------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The device's id."""
        return self._identity.id

    @property
    def type(self) -> str:
        """The name of its type."""
        return self._identity.type

    @property
    def clock(self) -> VirtualClock:
        """The clock of its manager."""
        return self._host.clock

    @property
    def connected(self) -> bool:
        """Whether it has a connection, as the server sees it."""
        return self._stream is not None and self._stream.connection.is_open

    def __repr__(self) -> str:
        return f"<FakeDevice {self.id!r}: type {self.type!r}, protocol {self._protocol}, {self._state}>"

    @property
    def _state(self) -> str:
        if self.connected:
            return "is connected"
        return f"is not connected ({self._said_goodbye})" if self._said_goodbye else "is not connected"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- connecting ------------------------------------------------------------------------------------

    def connect(self, state: Mapping[str, Any] | None = None) -> None:
        """Connect again, after `disconnect` or without it: then the new connection takes over, as after a power cut.

        Args:
            state: what its endpoints are now, said in HELLO by protocol 2; None for what it has reported last, and {}
                for a device that says nothing of them.

        Raises:
            Refused: the server refuses the device.
            RuntimeError: the device is closed.
        """
        if self._closed:
            raise RuntimeError(f"the test client {self.id!r} is closed: make another one")
        if state is not None:
            self._reported = dict(state)
        self._host.run(self._connect)

    def disconnect(self, reason: str = DisconnectReason.CLIENT_CLOSE) -> None:
        """End the connection, so that `on_disconnect` gets this reason.

        Args:
            reason: a DisconnectReason: CLIENT_CLOSE, by a CLOSE frame; TRANSPORT_CLOSED, as when the power or the
                network fails; or PROTOCOL_ERROR.

        Raises:
            ConnectionError: there is no connection.
            ValueError: another reason, which is not the device's to choose.
        """
        if reason not in _ENDS:
            raise ValueError(
                f"a device does not end its connection for {str(reason)!r}, but for {', '.join(_ENDS)}; ping_timeout"
                " comes of freeze() and clock.advance(), removed of manager.remove()"
            )
        self._host.run(self._leave, _ENDS[DisconnectReason(reason)])

    def stop(self) -> None:
        """End as a device's program does that stops: one of protocol 2 says goodbye, and so is offline at once."""
        goodbye = client_frame(BINARY, v2.encode_json(v2.GOODBYE, {"reason": "stopped"}))
        self._host.run(self._leave, (goodbye if self._protocol == 2 else b"") + _CLIENT_CLOSE)

    def sleep(self, seconds: float) -> None:
        """Announce a sleep and disconnect, as `client.sleep` does; the protocols 0 and 1 have no word for it.

        Let the time pass by `clock.advance`, then `connect`.

        Raises:
            ConnectionError: there is no connection.
            ValueError: seconds is not a number from 0 to 2**32 - 1.
        """
        if not 0 <= seconds <= _MAX_SLEEP:
            raise ValueError(f"seconds must be 0 to {_MAX_SLEEP}, not {seconds!r}")
        sleep = client_frame(BINARY, v2.encode_sleep(ceil(seconds)))
        self._host.run(self._leave, (sleep if self._protocol == 2 else b"") + _CLIENT_CLOSE)

    def freeze(self) -> None:
        """Read and send nothing any more, as a device that hangs, until `connect`. The server has to find out."""
        self._frozen = True

    def close(self) -> None:
        """Disconnect, and have the manager forget the device, unless the manager is closed.

        The last test client of a manager ends the work beside the devices. What `on_disconnect` and `on_stop` raise is
        raised here.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._host.run(self._depart)
        finally:
            self._host.remove(self)

    # -- events and calls ------------------------------------------------------------------------------

    def send(self, event: str, data: Any = None, *, durable: bool = False) -> None:
        """Send an event, and run its handler. What that returns is an event for `expect`.

        Args:
            event: its name.
            data: as for `emit` of a client; the protocols 0 and 1 have no None.
            durable: keep it until the server has it; it need not be connected. Protocol 2 only.

        Raises:
            EncodeError: the protocol cannot carry it (a ValueError).
            ConnectionError: there is no connection. Not if it is durable.
            Refused: the server does not take it: it is larger than it may be.
            ValueError: the protocol has no durable messages.
        """
        if not durable:
            self._host.run(self._exchange, self._wire.event(event, data))
            return
        if self._protocol != 2:
            raise ValueError(f"protocol {self._protocol} has no durable messages: make the test client with protocol=2")
        self._outbox.put(event, data, self._manager.wall())
        if self.connected and not self._frozen:
            self._host.run(self._exchange, self._kept())

    def report(self, values: Mapping[str, Any], *, time: datetime | None = None, durable: bool = False) -> None:
        """Report values of endpoints, as `client.report` does.

        Args:
            values: by endpoint.
            time: when they were so; None: now. Protocol 2 only.
            durable: keep it until the server has it; see `send`.

        Raises:
            EncodeError: the protocol cannot carry it (a ValueError).
            ConnectionError: there is no connection. Not if it is durable.
            Refused: the server does not take it.
            ValueError: the protocol has no durable messages, or no times.
        """
        self._reported |= values
        if time is None:
            self.send(REPORT, dict(values), durable=durable)
            return
        if self._protocol != 2 or durable:
            raise ValueError("a report of another time needs protocol 2, and is not durable here")
        packet = v2.encode(REPORT, dict(values), v2.TIME, time=int(time.timestamp() * 1000))
        self._host.run(self._exchange, client_frame(BINARY, packet))

    def call(self, event: str, data: Any = None) -> Any:
        """Call a handler of the server, and return what it returns.

        Args:
            event: its event.
            data: what it gets.

        Raises:
            NoHandler: there is none.
            InvalidData: its result cannot be sent.
            CallDisconnected: there is no connection, or it ended.
            CallTimeout: another handler of this device waits for this call: it is answered when that has returned.
            CallsUnsupported: the protocol is not 2.
            EncodeError: the data cannot be sent (a ValueError).
        """
        if self._protocol != 2:
            raise CallsUnsupported(f"protocol {self._protocol} has no calls: make the test client with protocol=2")
        if not self.connected:
            raise CallDisconnected(f"the test client {self.id!r} {self._state}")
        self._number = number = self._number + 1
        frame = client_frame(BINARY, v2.encode(event, data, v2.CALL, call=number))
        self._host.run(self._exchange, frame)
        answer = self._answers.pop(number, None)
        if answer is None and not self.connected:
            raise CallDisconnected(f"the connection has ended before the call of {event!r} was answered")
        if answer is None:
            raise CallTimeout(f"the call of {event!r} waits for a handler of {self.id!r} that runs already")
        if answer.flags & v2.FAILURE:
            raise error_of(event, answer.value)
        return answer.value

    def on(self, event: str, function: Callable[[Any], Any]) -> None:
        """Answer the server's calls of an event; events that are no calls wait for `expect`.

        A device of protocol 2 is set by a call of the endpoint's name: what the function returns is in force, None for
        what was asked. One of protocol 0 or 1 is set by an event.

        Args:
            event: its name.
            function: a `def` that takes the data and returns the result. What it raises is a RemoteError for the
                server, but an AssertionError fails the test, too. It may run in another thread.
        """
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"on() takes a def with one parameter, not {function!r}")
        self._functions[event] = function

    def expect(self, event: str) -> Any:
        """Return the data of the next event of this name that the server has sent. Other events are left.

        A durable message is acknowledged when it is read: by any method of the device, or while time passes.

        Raises:
            AssertionError: there is none; the text names those that there are.
        """
        __tracebackhide__ = True  # pytest then points to the line of the test
        self._host.run(self.read)
        with self._reading:
            for index, (name, data) in enumerate(self._inbox):
                if name == event:
                    del self._inbox[index]
                    return data
            found = ", ".join(f"{name!r} with {data!r}" for name, data in self._inbox) or "nothing"
        raise AssertionError(f"the server has sent {self.id!r} no event {event!r}, but {found}{self._why_not()}")

    @property
    def received(self) -> list[tuple[str, Any]]:
        """The events that have come and that `expect` has not returned, names and data, oldest first; a copy."""
        self._host.run(self.read)
        with self._reading:
            return list(self._inbox)

    def _why_not(self) -> str:
        """Return what may be the reason why nothing has come, for `expect`."""
        unhandled = 0 if self._stream is None else self._stream.connection.n_unhandled
        told = "" if self.connected else f"; the device {self._state}"
        return told + (f"; no handler took {unhandled} of the events of the device" if unhandled else "")

    # -- for the host ----------------------------------------------------------------------------------

    def read(self) -> None:
        """Take what the server has sent, and answer what a device answers at once."""
        stream = self._stream
        if stream is None:
            return
        replies = b""
        with self._reading:
            for opcode, payload in [] if self._frozen else frames_of(stream.read()):
                replies += self._take(opcode, payload)
            called, self._called = self._called, []
        for one in called:
            replies += self._answer(one)
        if replies:
            stream.send(replies)
        stream.end_if_over()

    # -- inside ----------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._host.begin_work()
        before = self._stream
        with self._reading:
            self._frozen, self._problem, self._said_goodbye = False, None, ""
        headers = self._identity.headers() if self._protocol == 1 else []
        subprotocol = v2.SUBPROTOCOL if self._protocol == 2 else None
        self._stream = stream = DeviceStream(self._host, headers, subprotocol=subprotocol)
        stream.begin()
        if self._protocol != 1:
            stream.send(self._wire.hello(self._identity, self._hello()))
        self.read()
        if before is not None:
            before.send(b"")
        if stream.connection.client is None:
            stream.send(b"")
            raise self._refusal(*(self._take_problem() or (self._said_goodbye.partition(" ")[0], None)))
        if kept := self._kept():
            stream.send(kept)
            self.read()

    def _kept(self) -> bytes:
        """Return the frames of the durable messages that are to be sent."""
        return b"".join(client_frame(BINARY, packet) for packet in self._outbox.packets())

    def _hello(self) -> dict[str, object]:
        heard = None if self._heard is None else {"stream": self._heard[0], "upto": self._heard[1]}
        said = {"state": self._reported} if self._reported else {}
        return {"library": "iotio.testing", "sends": self._outbox.stream, "heard": heard, **said}

    def _refusal(self, code: str, info: object) -> Refused:
        text: object = code
        if code in set(ErrorCode):
            known = info if isinstance(info, dict) else None
            error = HandshakeError(ErrorCode(code), known)
            text = Refusal(error, (self.id, self.type), self._manager.device_types)
        return Refused(code, info, f"the server refuses the test client: {text}")

    def _leave(self, last: bytes) -> None:
        """Send the last bytes, and end the stream."""
        self._check_connected()
        assert self._stream is not None
        if last:
            self._stream.send(last)
            self.read()
        self._stream.send(b"")

    def _depart(self) -> None:
        if self.connected and not self._frozen:
            self._leave(_CLIENT_CLOSE)
        if self._stream is not None:
            self._stream.send(b"")
        if not self._manager.closing:  # what a store has is for the manager after it
            self._manager.forget(self.id)

    def _exchange(self, frame: bytes) -> None:
        self._check_connected()
        assert self._stream is not None
        self._stream.send(frame)
        self.read()
        problem = self._take_problem()
        if problem is not None:
            raise Refused(*problem, f"the server does not take this: {problem[0]} {problem[1] or ''}".rstrip())

    def _take_problem(self) -> tuple[str, object] | None:
        with self._reading:
            problem, self._problem = self._problem, None
        return problem

    def _check_connected(self) -> None:
        if self._frozen:
            raise ConnectionError(f"the test client {self.id!r} is frozen: connect() brings it back")
        if not self.connected:
            raise ConnectionError(f"the test client {self.id!r} {self._state}: connect() first")

    def _take(self, opcode: int, payload: bytes) -> bytes:
        """Take a frame of the server. Returns the answer, b"" for none."""
        if opcode == PING:
            return client_frame(PONG, payload)
        if opcode == CLOSE:
            self._said_goodbye = payload[2:].decode()
            return client_frame(CLOSE, payload[:2])
        if opcode not in (TEXT, BINARY):
            return b""
        packet = self._wire.decode(payload)
        if isinstance(packet, v2.Packet):
            return self._take_packet(packet)
        if isinstance(packet, v2.Problem):
            self._problem = packet.error, packet.info
        elif isinstance(packet, v2.Greeting):
            stream = packet.fields.get("sends")
            if isinstance(stream, str) and (self._heard is None or self._heard[0] != stream):
                self._heard = stream, 0
            self._outbox.begin(packet.fields.get("heard"))
        elif isinstance(packet, v2.Ack):
            self._outbox.acknowledge(packet.upto)
        return client_frame(BINARY, v2.PONG_PACKET) if isinstance(packet, v2.Ping) else b""

    def _take_packet(self, packet: v2.Packet) -> bytes:
        if packet.flags & (v2.RESULT | v2.FAILURE):
            self._answers[packet.call] = packet
        elif packet.flags & v2.CALL:
            self._called.append(packet)
        elif self._protocol == 1 and packet.event == "error" and isinstance(packet.value, dict):
            self._problem = str(packet.value.get("error")), packet.value.get("info")
        else:
            if packet.flags & v2.DURABLE:
                assert self._heard is not None  # WELCOME comes before all durable messages
                stream, last = self._heard
                self._heard = stream, max(last, packet.number)
                ack = client_frame(BINARY, v2.encode_ack(self._heard[1]))
                if packet.number <= last:  # it came before
                    return ack
                self._inbox.append((packet.event, packet.value))
                return ack
            self._inbox.append((packet.event, packet.value))
        return b""

    def _answer(self, called: v2.Packet) -> bytes:
        """Return the answer to a call of the server."""
        function = self._functions.get(called.event)
        try:
            if function is None:
                return _failed(called, failure(CallFault.NO_HANDLER))
            return client_frame(BINARY, v2.encode("", function(called.value), v2.RESULT, call=called.call))
        except BaseException as error:
            if isinstance(error, AssertionError) or not isinstance(error, Exception):  # such as that of pytest.fail()
                self._host.failed(error)
            return _failed(called, failure(fault_of(error), error))


def _failed(called: v2.Packet, why: Any) -> bytes:
    return client_frame(BINARY, v2.encode("", why, v2.FAILURE, call=called.call))

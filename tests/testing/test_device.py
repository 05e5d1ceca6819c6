"""Test clients: each generation of devices, what they raise, and how they go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import flask
import pytest

from iotio import (
    CallDisconnected,
    CallsUnsupported,
    CallTimeout,
    DeviceType,
    DisconnectReason,
    EmitResult,
    EncodeError,
    ErrorCode,
    InvalidData,
    IoTClient,
    IoTManager,
    NoHandler,
    Options,
    RemoteError,
)
from iotio.testing import FakeDevice, Refused
from iotio_client import EndpointConstraint, EndpointInfo, EndpointType

PROTOCOLS = [0, 1, 2]


class Lamp(DeviceType):
    def __init__(self) -> None:
        super().__init__("lamp")
        self.seen: list[Any] = []

    def on_connect(self, client: IoTClient) -> None:
        self.seen.append(("connect", client.data))

    def on_disconnect(self, client: IoTClient, reason: DisconnectReason) -> None:
        self.seen.append(("disconnect", reason))

    def on_toggle(self, message: Any, client: IoTClient) -> Any:
        self.seen.append(message)
        return ("state", message)

    async def on_late(self, message: Any, client: IoTClient) -> Any:
        await asyncio.sleep(0)
        return message

    def on_fail(self, message: Any, client: IoTClient) -> None:
        raise ValueError(f"no {message}")

    async def on_late_fail(self, message: Any, client: IoTClient) -> None:
        raise KeyError(message)

    def on_ask(self, message: Any, client: IoTClient) -> Any:
        return client.call("measure", message)

    async def on_ask_late(self, message: Any, client: IoTClient) -> Any:
        return await client.acall("measure", message)

    def on_throw_out(self, message: Any, client: IoTClient) -> None:
        client.close()

    async def on_throw_out_other(self, message: str, client: IoTClient) -> None:
        client.manager.remove(message)


@pytest.fixture
def lamp_type() -> Lamp:
    return Lamp()


@pytest.fixture
def manager(lamp_type: Lamp) -> IoTManager:
    manager = IoTManager()
    manager.add_type(lamp_type)
    return manager


@pytest.fixture
def lamp(manager: IoTManager) -> Iterator[FakeDevice]:
    with manager.test_client("kitchen", "lamp") as device:
        yield device


# Events.


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_conversation(manager: IoTManager, lamp_type: Lamp, protocol: int) -> None:
    with manager.test_client("kitchen", "lamp", {"floor": 1}, protocol=protocol) as lamp:
        assert lamp.connected
        assert manager.clients == ["kitchen"]
        client = manager.client("kitchen")
        assert client is not None
        assert client.socket.session.version == protocol
        lamp.send("toggle", {"on": True})
        assert lamp.expect("state") == {"on": True}
        lamp.send("late", "x")
        manager.emit("later", 5, to="kitchen")
        assert lamp.received == [("late", "x"), ("later", 5)]
        assert lamp.expect("later") == 5
        assert lamp.expect("late") == "x"
        assert lamp.received == []
    said = {"floor": 1} if protocol else '{"floor": 1}'
    assert lamp_type.seen == [("connect", said), {"on": True}, ("disconnect", DisconnectReason.CLIENT_CLOSE)]
    assert manager.clients == []
    assert manager.device("kitchen") is None, "it is forgotten"


def test_what_did_not_come_is_an_assertion_error_that_says_what_did(manager: IoTManager, lamp: FakeDevice) -> None:
    with pytest.raises(AssertionError, match=r"^the server has sent 'kitchen' no event 'state', but nothing$"):
        lamp.expect("state")
    manager.emit("other", [1], to="kitchen")
    manager.remove("kitchen")
    expected = (
        r"^the server has sent 'kitchen' no event 'state', but 'other' with \[1\];"
        r" the device is not connected \(removed\)$"
    )
    with pytest.raises(AssertionError, match=expected):
        lamp.expect("state")
    assert lamp.expect("other") == [1]


def test_an_event_that_no_handler_takes(lamp: FakeDevice) -> None:
    lamp.send("togle", 1)
    with pytest.raises(
        AssertionError, match=r"no event 'state', but nothing; no handler took 1 of the events of the dev"
    ):
        lamp.expect("state")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_cannot_travel_is_an_encode_error(manager: IoTManager, protocol: int) -> None:
    with manager.test_client("kitchen", "lamp", protocol=protocol) as lamp, pytest.raises(EncodeError):
        lamp.send("toggle", {1, 2})


def test_large_values_travel(manager: IoTManager, lamp: FakeDevice) -> None:
    for size in (10, 1000, 70_000):
        lamp.send("late", "x" * size)
        assert lamp.expect("late") == "x" * size


@pytest.mark.parametrize("protocol", [1, 2])
def test_what_the_server_does_not_take(protocol: int) -> None:
    manager = IoTManager(options=Options(max_payload=10))
    manager.add_type(Lamp())
    expected = r"^the server does not take this: client_invalid_packet \{'problem': 'a value may have 10 bytes"
    with manager.test_client("kitchen", "lamp", protocol=protocol) as lamp:
        with pytest.raises(Refused, match=expected) as caught:
            lamp.send("toggle", "x" * 11)
        assert caught.value.code == ErrorCode.CLIENT_INVALID_PACKET


# What user code raises.


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_handler_raises_is_raised(manager: IoTManager, protocol: int, caplog: pytest.LogCaptureFixture) -> None:
    with manager.test_client("kitchen", "lamp", protocol=protocol) as lamp:
        with pytest.raises(ValueError, match=r"^no light$"):
            lamp.send("fail", "light")
        with pytest.raises(KeyError, match=r"^'light'$"):
            lamp.send("late_fail", "light")
        assert lamp.connected
        lamp.send("late", "x")  # each is raised once
    assert "handler on_fail of type 'lamp' failed for device 'kitchen'" in caplog.text


def test_several_errors_come_as_a_group(manager: IoTManager, lamp: FakeDevice) -> None:
    @manager.event
    def on_update(client_id: str, event: str, data: Any) -> None:
        raise LookupError(event)

    manager.emit("one", 1, to="kitchen")
    with pytest.raises(ExceptionGroup) as caught:
        lamp.send("fail", "two")
    assert [type(error) for error in caught.value.exceptions] == [LookupError, ValueError]


def test_an_error_of_on_connect() -> None:
    class Broken(DeviceType):
        def on_connect(self, client: IoTClient) -> None:
            raise ValueError("not today")

    manager = IoTManager()
    manager.add_type(Broken("broken"))
    with pytest.raises(ValueError, match="not today"):
        manager.test_client("kitchen", "broken")
    assert manager.clients == []
    assert manager.loops == []


def test_an_error_of_on_disconnect() -> None:
    class Broken(DeviceType):
        async def on_disconnect(self, client: IoTClient) -> None:
            raise ValueError("not today")

    manager = IoTManager()
    manager.add_type(Broken("broken"))
    lamp = manager.test_client("kitchen", "broken")
    with pytest.raises(ValueError, match="not today"):
        lamp.close()
    assert manager.loops == []
    assert list(manager.devices) == [], "it is forgotten all the same"


def test_what_is_only_logged_by_the_interpreter_ends_no_test(manager: IoTManager, lamp: FakeDevice) -> None:
    """`sys.exit()` in a handler ends neither a server nor the test run unseen."""
    manager.types.get("lamp")

    class Leaves(DeviceType):
        def on_go(self, message: Any, client: IoTClient) -> None:
            raise SystemExit(3)

    manager.add_type(Leaves("leaves"))
    with manager.test_client("hall", "leaves") as device, pytest.raises(SystemExit):
        device.send("go")


# Calls.


def test_calls_of_the_server(manager: IoTManager, lamp: FakeDevice) -> None:
    lamp.on("measure", lambda data: [data, 21.5])
    assert manager.call("kitchen", "measure", 1) == [1, 21.5]
    assert lamp.call("ask", 2) == [2, 21.5]
    assert lamp.call("ask_late", 3) == [3, 21.5]
    with pytest.raises(NoHandler):
        manager.call("kitchen", "nothing")
    lamp.on("broken", lambda data: 1 / 0)
    with pytest.raises(RemoteError, match="ZeroDivisionError"):
        manager.call("kitchen", "broken")
    lamp.on("unsendable", lambda data: {1})
    with pytest.raises(InvalidData):
        manager.call("kitchen", "unsendable")


def test_calls_of_the_device(manager: IoTManager, lamp: FakeDevice) -> None:
    assert lamp.call("late", [1]) == [1]
    with pytest.raises(NoHandler):
        lamp.call("nothing")
    with pytest.raises(ValueError, match="no light"):  # and not the RemoteError that the device gets
        lamp.call("fail", "light")
    with pytest.raises(CallDisconnected, match="before the call of 'throw_out' was answered"):
        lamp.call("throw_out")
    with pytest.raises(CallDisconnected, match=r"'kitchen' is not connected \(removed\)"):
        lamp.call("late")


def test_a_call_that_waits_for_itself(manager: IoTManager, lamp: FakeDevice) -> None:
    """The protocol has it: while a handler waits for the device, another call of the device waits for the handler."""
    errors: list[BaseException] = []

    def measure(data: Any) -> float:
        try:
            lamp.call("late")
        except CallTimeout as error:
            errors.append(error)
        return 1.5

    lamp.on("measure", measure)
    assert lamp.call("ask") == 1.5
    (error,) = errors
    assert str(error) == "the call of 'late' waits for a handler of 'kitchen' that runs already"


def test_a_device_sends_while_it_answers(manager: IoTManager, lamp_type: Lamp, lamp: FakeDevice) -> None:
    """What it sends is handled behind the handler that waits for the answer, as on every host."""

    def measure(data: Any) -> float:
        lamp.send("toggle", 7)
        return 2.5

    lamp.on("measure", measure)
    assert lamp.call("ask") == 2.5
    assert lamp_type.seen[1:] == [7]
    assert lamp.expect("state") == 7


@pytest.mark.parametrize("protocol", [0, 1])
def test_old_protocols_have_no_calls(manager: IoTManager, protocol: int) -> None:
    with manager.test_client("kitchen", "lamp", protocol=protocol) as lamp:
        with pytest.raises(CallsUnsupported, match="make the test client with protocol=2"):
            lamp.call("late")
        with pytest.raises(CallsUnsupported):
            manager.call("kitchen", "measure")


def test_a_coroutine_function_answers_no_calls(lamp: FakeDevice) -> None:
    async def measure(data: Any) -> float:
        return 1.5

    with pytest.raises(TypeError, match=r"^on\(\) takes a def with one parameter, not <function"):
        lamp.on("measure", measure)


def test_an_assertion_in_an_answer_fails_the_test(manager: IoTManager, lamp: FakeDevice) -> None:
    """Also where a handler takes the RemoteError for what a device may do."""

    def measure(data: Any) -> None:
        assert data == 1, "another unit"

    class Careful(DeviceType):
        def on_ask(self, message: Any, client: IoTClient) -> str:
            try:
                client.manager.call("kitchen", "measure", 2)
            except RemoteError as error:
                return error.name
            return ""

    lamp.on("measure", measure)
    manager.add_type(Careful("careful"))
    with manager.test_client("hall", "careful") as hall:
        with pytest.raises(AssertionError, match="another unit"):
            hall.send("ask")
        assert hall.expect("ask") == "AssertionError"


# From an async test.


async def test_all_of_it_works_in_a_coroutine(manager: IoTManager, lamp_type: Lamp, lamp: FakeDevice) -> None:
    lamp.on("measure", lambda data: data)
    lamp.send("toggle", 1)
    assert lamp.expect("state") == 1
    lamp.send("late", 2)
    assert lamp.expect("late") == 2
    assert lamp.call("ask", 3) == 3, "a def handler may wait, as on a thread of a host"
    assert lamp.call("ask_late", 4) == 4
    assert await manager.acall("kitchen", "measure", 5) == 5
    assert await asyncio.gather(*(manager.acall("kitchen", "measure", number) for number in range(20))) == [*range(20)]
    with pytest.raises(ValueError, match="no light"):
        lamp.send("fail", "light")
    with pytest.raises(RuntimeError, match=r"write await manager\.acall"):  # as on every host
        manager.call("kitchen", "measure")
    lamp.clock.advance(60)
    assert lamp.connected


# How devices go, and come.


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("reason", ["client_close", "transport_closed", "protocol_error"])
def test_the_reason_of_the_end(
    manager: IoTManager, lamp_type: Lamp, reason: str, protocol: int, caplog: pytest.LogCaptureFixture
) -> None:
    with manager.test_client("kitchen", "lamp", protocol=protocol) as lamp:
        lamp.disconnect(reason)
        assert not lamp.connected
        assert lamp_type.seen[1:] == [("disconnect", reason)]
        with pytest.raises(ConnectionError, match=r"^the test client 'kitchen' is not connected.*: connect\(\) first$"):
            lamp.send("toggle", 1)
        lamp.connect()
        lamp.send("toggle", 2)
        assert lamp.expect("state") == 2


def test_a_reason_that_is_not_the_device_s(lamp: FakeDevice) -> None:
    expected = r"^a device does not end its connection for 'removed', but for client_close, transport_closed, prot"
    with pytest.raises(ValueError, match=expected):
        lamp.disconnect(DisconnectReason.REMOVED)
    assert lamp.connected


def test_a_device_that_hangs(manager: IoTManager, lamp_type: Lamp, lamp: FakeDevice) -> None:
    lamp.freeze()
    with pytest.raises(ConnectionError, match=r"is frozen: connect\(\) brings it back"):
        lamp.send("toggle", 1)
    lamp.clock.advance(manager.options.ping_interval + manager.options.ping_timeout)
    assert lamp_type.seen[1:] == [("disconnect", DisconnectReason.PING_TIMEOUT)]
    assert manager.connections.all() == []
    lamp.connect()
    lamp.send("toggle", 1)


def test_a_device_that_comes_back_before_the_server_has_noticed(
    manager: IoTManager, lamp_type: Lamp, lamp: FakeDevice
) -> None:
    lamp.connect()
    assert [one[0] for one in lamp_type.seen] == ["connect", "disconnect", "connect"]
    assert lamp_type.seen[1] == ("disconnect", DisconnectReason.TAKEOVER)
    lamp.send("toggle", 1)
    assert lamp.expect("state") == 1
    assert len(manager.connections.all()) == 1


def test_the_server_throws_a_device_out(manager: IoTManager, lamp_type: Lamp, lamp: FakeDevice) -> None:
    lamp.send("throw_out")
    assert not lamp.connected
    assert repr(lamp) == "<FakeDevice 'kitchen': type 'lamp', protocol 2, is not connected (removed)>"
    assert lamp_type.seen[1:] == [("disconnect", DisconnectReason.REMOVED)]
    assert manager.connections.all() == []


def test_an_async_handler_throws_another_device_out(manager: IoTManager, lamp_type: Lamp, lamp: FakeDevice) -> None:
    with manager.test_client("hall", "lamp") as hall:
        lamp.send("throw_out_other", "hall")
        assert ("disconnect", DisconnectReason.REMOVED) in lamp_type.seen
        assert not hall.connected


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_refusal_says_what_to_do(manager: IoTManager, protocol: int) -> None:
    expected = (
        r"^the server refuses the test client: client_invalid_type; it calls itself 'kitchen' of type 'lmap'\."
        r" 'lamp' exists; did you mean that\?"
    )
    with pytest.raises(Refused, match=expected) as caught:
        manager.test_client("kitchen", "lmap", protocol=protocol)
    assert caught.value.code == ErrorCode.CLIENT_INVALID_TYPE
    assert manager.loops == []
    assert manager.connections.all() == []


def test_wrong_arguments(manager: IoTManager) -> None:
    with pytest.raises(ValueError, match=r"^protocol must be 0, 1 or 2, not 3$"):
        manager.test_client("kitchen", "lamp", protocol=3)
    with pytest.raises(ValueError, match=r"^client_id must be a str without control characters, not 'a.nb'$"):
        manager.test_client("a\nb", "lamp", protocol=1)
    with pytest.raises(EncodeError, match="what a device says of itself must be JSON"):
        manager.test_client("kitchen", "lamp", {"x": {1}}, protocol=1)
    assert manager.loops == []


@pytest.mark.parametrize("protocol", [1, 2])
def test_endpoints(manager: IoTManager, protocol: int) -> None:
    percent = EndpointInfo("Brightness", EndpointType.INTEGER, constraints=EndpointConstraint(min_v=0, max_v=100))
    declared = [percent.get_info("brightness")]
    with manager.test_client("küche", "lamp", endpoints=declared, protocol=protocol) as lamp:
        manager.emit("brightness", "70", to="küche")
        assert lamp.expect("brightness") == 70
        with pytest.raises(InvalidData):
            manager.emit("brightness", 101, to="küche")


def test_a_closed_test_client(manager: IoTManager) -> None:
    lamp = manager.test_client("kitchen", "lamp")
    lamp.close()
    lamp.close()
    with pytest.raises(RuntimeError, match="the test client 'kitchen' is closed: make another one"):
        lamp.connect()


# Durable messages.


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_durable_messages(manager: IoTManager, protocol: int) -> None:
    def state(result: EmitResult) -> str:
        return result.deliveries["kitchen"].state.value

    with manager.test_client("kitchen", "lamp", protocol=protocol) as lamp:
        first = manager.emit("set", 1, to="kitchen", durable=True)
        assert lamp.expect("set") == 1
        assert state(first) == ("done" if protocol == 2 else "acknowledged")
        lamp.disconnect(DisconnectReason.TRANSPORT_CLOSED)
        second = manager.emit("set", 2, to="kitchen", durable=True)
        expired = manager.emit("set", 3, to="kitchen", durable=True, ttl=60)
        lamp.clock.advance(61)
        assert [state(one) for one in (second, expired)] == ["queued", "expired"]
        lamp.connect()
        assert lamp.received == [("set", 2)]
        assert state(second) == state(first)


def test_a_message_that_was_handled_is_not_handled_again(manager: IoTManager, lamp: FakeDevice) -> None:
    for number in range(3):
        manager.emit("set", number, to="kitchen", durable=True)
    assert [data for _, data in lamp.received] == [0, 1, 2]
    lamp.connect()
    manager.emit("set", 3, to="kitchen", durable=True)
    assert [data for _, data in lamp.received] == [0, 1, 2, 3]


def test_durable_messages_of_the_device(manager: IoTManager, lamp_type: Lamp, lamp: FakeDevice) -> None:
    times: list[Any] = []

    class Logs(DeviceType):
        def on_measured(self, message: Any, client: IoTClient) -> None:
            assert client.message is not None
            assert client.message.time is not None
            times.append((message, client.message.time.timestamp() - begin))

    manager.add_type(Logs("logs"))
    with manager.test_client("hall", "logs") as logs:
        begin = manager.wall()
        logs.send("measured", 1, durable=True)
        logs.disconnect(DisconnectReason.TRANSPORT_CLOSED)
        logs.clock.advance(5)
        logs.send("measured", 2, durable=True)
        logs.clock.advance(5)
        logs.send("measured", 3, durable=True)
        assert times == [(1, pytest.approx(0, abs=0.01))]
        logs.clock.advance(5)
        logs.connect()
        logs.connect()
        assert times[1:] == [(2, pytest.approx(5, abs=0.01)), (3, pytest.approx(10, abs=0.01))]


def test_an_error_in_the_handler_of_a_durable_message(manager: IoTManager, lamp: FakeDevice) -> None:
    with pytest.raises(ValueError, match="no light"):
        lamp.send("fail", "light", durable=True)
    lamp.connect()  # it has been handled, and does not come again


@pytest.mark.parametrize("protocol", [0, 1])
def test_old_protocols_have_no_durable_messages_of_devices(manager: IoTManager, protocol: int) -> None:
    with (
        manager.test_client("kitchen", "lamp", protocol=protocol) as lamp,
        pytest.raises(ValueError, match=f"^protocol {protocol} has no durable messages: make the test client with"),
    ):
        lamp.send("toggle", 1, durable=True)


# What handlers see.


def test_handlers_run_in_the_application_s_context_and_in_nothing_of_the_test() -> None:
    app = flask.Flask("home")
    manager = IoTManager(app)
    seen: list[Any] = []

    class Looks(DeviceType):
        def on_look(self, message: Any, client: IoTClient) -> None:
            seen.append((flask.current_app.name, flask.has_request_context()))

    manager.add_type(Looks("looks"))
    with app.test_request_context(), manager.test_client("kitchen", "looks") as device:
        device.send("look")
    assert seen == [("home", False)]


def test_a_view_that_calls_a_device() -> None:
    app = flask.Flask("home")
    manager = IoTManager(app)
    manager.add_type(Lamp())

    @app.get("/watts")
    def watts() -> dict[str, Any]:
        return {"watts": manager.call("kitchen", "measure", timeout=5)}

    with manager.test_client("kitchen", "lamp") as lamp:
        lamp.on("measure", lambda data: 4.5)
        assert app.test_client().get("/watts").json == {"watts": 4.5}


def test_an_encoder_of_the_program_s_own() -> None:
    class Rot13:
        @staticmethod
        def encode(event: str, value: Any) -> bytes:
            return f"{event}|{value}".encode().swapcase()

        @staticmethod
        def decode(packet: bytes) -> Any:
            event, _, value = packet.decode().swapcase().partition("|")
            return event, value

    manager = IoTManager(encoder=Rot13)
    manager.add_type(Lamp())
    with manager.test_client("kitchen", "lamp", protocol=1) as lamp:
        lamp.send("toggle", "on")
        assert lamp.expect("state") == "on"


def test_def_handlers_run_in_the_thread_of_the_test(manager: IoTManager) -> None:
    threads: list[int] = []

    class Looks(DeviceType):
        def on_look(self, message: Any, client: IoTClient) -> None:
            threads.append(threading.get_ident())

    manager.add_type(Looks("looks"))
    with manager.test_client("kitchen", "looks") as device:
        device.send("look")
    assert threads == [threading.get_ident()]


def test_devices_in_threads_of_the_test(manager: IoTManager) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with manager.test_client(f"d{number}", "lamp") as device:
                device.on("measure", lambda data: data)
                for turn in range(20):
                    device.send("toggle", turn)
                    assert device.expect("state") == turn
                    assert device.call("ask_late", turn) == turn
                    assert manager.call(device.id, "measure", turn) == turn
        except BaseException as error:
            errors.append(error)

    with manager.test_client("kitchen", "lamp"):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert errors == []

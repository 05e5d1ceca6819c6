"""The Flask application that the host tests serve: a device type with a handler for everything in the vectors.

What its handlers see is told to a `record` function, in order: `record(device id, what)`.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any

import flask

import iotio
from iotio import DeviceHandle, DeviceType, DisconnectReason, IoTClient, IoTManager, Options, Presence
from iotio.store import MemoryStore
from tests.protocol.vectors import revive

__all__ = ["Calling", "Echo", "Record", "Recording", "make_app"]

Record = Callable[[str, str], None]
GROW = 2**70


class Recording(DeviceType):
    """A type without handlers that tells of its devices' coming and going."""

    def __init__(self, type_name: str, record: Record) -> None:
        super().__init__(type_name)
        self.record = record

    def on_connect(self, client: IoTClient) -> None:
        self.record(client.id, "on_connect")

    # The default is for the type checker: the base class has no reason.
    def on_disconnect(self, client: IoTClient, reason: DisconnectReason = DisconnectReason.REMOVED) -> None:
        self.record(client.id, "on_disconnect")
        self.record(client.id, f"reason:{reason}")

    def on_presence(self, client: DeviceHandle, old: Presence, new: Presence, reason: Any) -> None:
        """Recorded beside what the connections do, and only in the application's context."""
        self.record(f"presence of {client.id}", f"{old} {new} {reason}, {flask.current_app.name}")


class Other(Recording):
    """Another type, whose devices are soon said to be offline, on a loop."""

    def __init__(self, record: Record) -> None:
        super().__init__("other", record)
        self._grace = 0.2

    async def on_presence(  # type: ignore[override]  # either will do
        self, client: DeviceHandle, old: Presence, new: Presence, reason: Any
    ) -> None:
        await asyncio.sleep(0)
        super().on_presence(client, old, new, reason)


class Echo(Recording):
    """The device type of the vectors; its handlers do what those of the original study did."""

    def __init__(self, record: Record, sleep: Callable[[float], object] = time.sleep) -> None:
        super().__init__("echo", record)
        self.sleep = sleep

    def on_connect(self, client: IoTClient) -> None:
        super().on_connect(client)
        wishes = client.data if isinstance(client.data, dict) else {}
        if "join" in wishes:
            client.join(wishes["join"])
        if wishes.get("greet"):
            client.emit("greeting", f"hi {client.id}")
        if wishes.get("raise"):
            raise ValueError("on_connect raises")

    def on_echo(self, message: Any, client: IoTClient) -> Any:
        self.record(client.id, "echo")
        if client.socket.session.wire != "v1":  # the original of that time could return text only
            return str(message)
        return "echo_response", message

    def on_same(self, message: Any, client: IoTClient) -> Any:
        self.record(client.id, "same")
        return message

    def on_none(self, message: Any, client: IoTClient) -> None:
        self.record(client.id, "none")

    def on_raise(self, message: Any, client: IoTClient) -> Any:
        raise ValueError("boom")

    def on_attrerr(self, message: Any, client: IoTClient) -> Any:
        self.record(client.id, "attrerr")
        return client.no_such_attribute  # type: ignore[attr-defined]  # that is the point

    on_attr = on_attrerr

    def on_bigint(self, message: Any, client: IoTClient) -> Any:
        return GROW

    def on_tuplenonstr(self, message: Any, client: IoTClient) -> Any:
        return 5, "b"

    def on_tuplenone(self, message: Any, client: IoTClient) -> Any:
        return "x", None

    def on_false(self, message: Any, client: IoTClient) -> Any:
        return False

    def on_list(self, message: Any, client: IoTClient) -> Any:
        return [1, "a", None]

    def on_dict(self, message: Any, client: IoTClient) -> Any:
        return {"a": 1}

    def on_bytearray(self, message: Any, client: IoTClient) -> Any:
        return bytearray(b"\x01\x02")

    def on_uni(self, message: Any, client: IoTClient) -> Any:
        return "é漢\U0001f600"

    def on_nan(self, message: Any, client: IoTClient) -> Any:
        return {"x": float("nan")}

    def on_unjson(self, message: Any, client: IoTClient) -> Any:
        return {"x": {1, 2}}

    def on_emit2(self, message: Any, client: IoTClient) -> Any:
        client.emit("first", 1)
        client.emit("second", 2)
        return "third", 3

    def on_ctxemit(self, message: Any, client: IoTClient) -> None:
        iotio.emit("ctx_reply", message)

    def on_joinroom(self, message: Any, client: IoTClient) -> Any:
        client.join(message)
        return "joined", client.rooms

    def on_leaveroom(self, message: Any, client: IoTClient) -> Any:
        client.leave(message)
        return "left", client.rooms

    def on_ctxjoin(self, message: Any, client: IoTClient) -> Any:
        iotio.join(message)
        return "joined", client.rooms

    def on_ctxleave(self, message: Any, client: IoTClient) -> Any:
        iotio.leave(message)
        return "left", client.rooms

    def on_closeroom(self, message: Any, client: IoTClient) -> Any:
        iotio.close_room(message)
        return "closed", client.rooms

    def on_info(self, message: Any, client: IoTClient) -> Any:
        return "info", client.info

    def on_sleep(self, message: Any, client: IoTClient) -> Any:
        self.sleep(float(message))
        return "slept", message

    def on_asleep(self, message: Any, client: IoTClient) -> Any:
        return self._asleep(message)

    async def _asleep(self, message: Any) -> Any:
        return "asleep", flask.request.headers.get("IoT-IO-Id")

    def on_context(self, message: Any, client: IoTClient) -> Any:
        return {
            "app": flask.current_app.name,
            "id": flask.request.headers["IoT-IO-Id"],
            "query": flask.request.args.to_dict(),
            "client": flask.request.g["client"] is client,  # type: ignore[attr-defined]  # iot.io put it there
        }

    def on_where(self, message: Any, client: IoTClient) -> Any:
        return _where()

    # What the v0 vectors call.

    def on_push(self, message: Any, client: IoTClient) -> Any:
        self.record(client.id, "push")
        client.emit("pushed", message)
        return "done"

    def on_pushutf8(self, message: Any, client: IoTClient) -> Any:
        self.record(client.id, "push")
        client.send("pushed", message, encoding="utf-8", error_handling="strict")
        return "done"

    def on_pushbytes(self, message: Any, client: IoTClient) -> Any:
        self.record(client.id, "push")
        client.send("pushed", b"\x00\xff")
        return "done"

    def on_raw(self, message: Any, client: IoTClient) -> Any:
        self.record(client.id, "raw")
        return message

    def on_tuple(self, message: Any, client: IoTClient) -> Any:
        return "tuple_reply", message


class Calling(Recording):
    """A device type whose handlers call devices: their event `ask`."""

    def on_connect(self, client: IoTClient) -> None:
        super().on_connect(client)
        if isinstance(client.data, dict) and "ask" in client.data:
            self.record(client.id, f"asked {client.call('ask', client.data['ask'])}")

    def on_seq(self, message: Any, client: IoTClient) -> None:
        self.record(client.id, f"seq {message}")

    async def on_aseq(self, message: Any, client: IoTClient) -> None:
        await asyncio.sleep(0)
        self.record(client.id, f"seq {message}")

    async def on_adurable(self, message: Any, client: IoTClient) -> None:
        result = client.manager.emit("push", message, client_id=client.id, durable=True)
        self.record(client.id, f"written {await result.written()}")

    def on_durable(self, message: Any, client: IoTClient) -> None:
        client.emit("push", message, durable=True)

    def on_raise(self, message: Any, client: IoTClient) -> Any:
        raise ValueError(message)

    def on_unsendable(self, message: Any, client: IoTClient) -> Any:
        return {1, 2}

    def on_same(self, message: Any, client: IoTClient) -> Any:
        return message

    async def on_later(self, message: Any, client: IoTClient) -> Any:
        await asyncio.sleep(0)
        return message

    def on_callself(self, message: Any, client: IoTClient) -> Any:
        return self._told(client, lambda: client.call("ask", message))

    def on_ctxcall(self, message: Any, client: IoTClient) -> Any:
        return self._told(client, lambda: iotio.call("ask", message))

    async def on_acallself(self, message: Any, client: IoTClient) -> Any:
        return await client.acall("ask", message)

    def on_callother(self, message: Any, client: IoTClient) -> Any:
        return self._told(client, lambda: client.manager.call(message, "ask", client.id))

    async def on_acallother(self, message: Any, client: IoTClient) -> Any:
        return await client.manager.acall(message, "ask", client.id)

    async def on_callinloop(self, message: Any, client: IoTClient) -> Any:
        words = []
        for call in (client.call, lambda event: client.manager.call(client.id, event), iotio.call):
            try:
                call("ask")
            except RuntimeError as error:
                words.append(str(error))
        return words

    def _told(self, client: IoTClient, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except iotio.CallError as error:
            self.record(client.id, type(error).__name__)
            raise


class RecordingManager(IoTManager):
    """A manager that tells what reaches its own callbacks."""

    record: Record

    def on_connect(self, client: IoTClient) -> None:
        self.record(client.id, "mgr_on_connect")

    def on_disconnect(self, client: IoTClient) -> None:
        self.record(client.id, "mgr_on_disconnect")

    def on_update(self, client_id: str, event: str, data: Any) -> None:
        self.record(client_id, "on_update")
        self.record(client_id, f"update:{event}={data!r}")


def make_app(
    record: Record,
    *,
    options: Options,
    sleep: Callable[[float], object] = time.sleep,
    store: str | None = None,
) -> tuple[flask.Flask, IoTManager]:
    """The application and its manager.

    Besides devices it serves `GET /hello`, `GET /where` (who asks), `GET /state` (clients, and rooms with those
    that are connected), `POST /call` (any method of the manager, `{"method", "args", "kw"}`) and `POST /api/iot.io`.

    Args:
        record: is told what handlers see.
        options: the manager's.
        sleep: how a handler waits.
        store: "memory", the URL of a store, or None.
    """
    app = flask.Flask("tests.support.app")
    kept = MemoryStore() if store == "memory" else store
    manager = RecordingManager(app, endpoint_api=True, options=options, store=kept)
    manager._loop_thread.sweep_interval = 0.02  # seconds; ten times as often as in production, for tests of time-outs
    manager.record = record
    manager.add_type(Echo(record, sleep))
    manager.add_type(Other(record))
    manager.add_type(Calling("calling", record))

    def connected(members: list[str]) -> list[str]:
        return [one for one in members if manager.client(one) is not None]

    @app.get("/where")
    def where() -> Any:
        return _where()

    @app.get("/hello")
    def hello() -> str:
        return "hello"

    @app.get("/state")
    def state() -> Any:
        return {
            "clients": manager.clients,
            "rooms": {room: ids for room, members in manager.rooms.items() if (ids := connected(members))},
            "sockets": len(manager.connections.all()),
        }

    @app.post("/call")
    def call() -> Any:
        wanted = flask.request.get_json()
        args = [_client(manager, argument) for argument in wanted.get("args", [])]
        try:
            result = getattr(manager, wanted["method"])(*args, **revive(wanted.get("kw", {})))
        except Exception as error:
            return {"ok": False, "exc": type(error).__name__, "msg": str(error)}
        return {"ok": True, "r": _plain(result)}

    return app, manager


def _where() -> dict[str, str | None]:
    """Who asks, and what for."""
    return {"address": flask.request.remote_addr, "url": flask.request.host_url.rstrip("/")}


def _client(manager: IoTManager, argument: Any) -> Any:
    """An argument of a vector: `@id` stands for the IoTClient of that id."""
    if isinstance(argument, str) and argument.startswith("@"):
        return manager.client(argument[1:])
    return revive(argument)


def _plain(value: Any) -> Any:
    if isinstance(value, iotio.EmitResult):
        return {"sent": value.sent, "offline": list(value.offline), "dropped": value.dropped}
    if isinstance(value, (bytes, bytearray)):
        return {"b64": base64.b64encode(value).decode()}
    return value if value is None or isinstance(value, (bool, int, str)) else repr(value)

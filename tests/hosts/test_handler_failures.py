"""What a handler raises is logged with the handler, and ends nothing: on every host that runs in this process."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

from iotio import DeviceType, IoTClient
from iotio_protocol import v1
from tests.support.hosts import FAST, IN_PROCESS, LocalHost, eventually, serve_local
from tests.support.wire import RawPeer, v1_headers

KINDS = {kind.__name__: kind for kind in (SystemExit, KeyboardInterrupt, GeneratorExit, BaseException, ValueError)}
WAYS = ("plain", "awaited", "at_once", "later")


class Failing(DeviceType):
    """Its handlers raise what their messages name."""

    def on_plain(self, message: Any, client: IoTClient) -> None:
        """Raise at once."""
        raise KINDS[message](f"plain {message}")

    def on_awaited(self, message: Any, client: IoTClient) -> Any:
        """Return what raises when it is awaited."""
        return self.on_later("awaited " + message, client)

    async def on_at_once(self, message: Any, client: IoTClient) -> None:
        """Raise before an await."""
        raise KINDS[message](f"at_once {message}")

    async def on_later(self, message: Any, client: IoTClient) -> None:
        """Raise behind an await."""
        await asyncio.sleep(0.001)
        raise KINDS[message.split()[-1]](message if " " in message else f"later {message}")

    async def on_forgotten(self, message: Any, client: IoTClient) -> None:
        """Wait for something that nobody else knows."""
        await asyncio.get_running_loop().create_future()

    async def on_same(self, message: Any, client: IoTClient) -> Any:
        """Answer."""
        return message


def connect(host: LocalHost, client_id: str) -> RawPeer:
    peer = host.peer()
    assert peer.upgrade(headers=v1_headers(client_id, "failing")).status == 101
    eventually(lambda: host.manager.client(client_id) is not None)
    return peer


def lives(peer: RawPeer) -> bool:
    peer.send_binary(v1.encode("same", "x"))
    return peer.expect_frame().payload == v1.encode("same", "x")


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_whatever_a_handler_raises_ends_nothing(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with serve_local(kind, FAST) as host:
        host.manager.add_type(Failing("failing"))
        with connect(host, "a") as first, connect(host, "b") as other:
            for way in WAYS:
                for name in KINDS:
                    caplog.clear()
                    with caplog.at_level(logging.DEBUG, "iotio.connection"):  # of many, the log shows some only
                        first.send_binary(v1.encode(way, name))
                        assert lives(first), (way, name)
                    assert lives(other), (way, name)
                    assert f"handler on_{way} of type 'failing' failed for device 'a'" in caplog.text, (way, name)
                    assert f"{way} {name}" in caplog.text
        with connect(host, "c") as another:
            assert lives(another)


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_an_on_update_that_exits_ends_nothing(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with serve_local(kind, FAST) as host:
        host.manager.add_type(Failing("failing"))

        def on_update(client_id: str, event: str, data: Any) -> None:
            raise SystemExit("on_update exits")

        host.manager.event(on_update)
        with connect(host, "a") as peer:
            assert lives(peer)
            assert lives(peer)
        assert "on_update exits" in caplog.text


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_a_handler_that_waits_is_held(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """asyncio holds no task that waits, and what it waits for may be held by nobody else."""
    with serve_local(kind, FAST) as host:
        host.manager.add_type(Failing("failing"))
        with connect(host, "a") as peer, connect(host, "b") as other:
            peer.send_binary(v1.encode("forgotten", ""))
            assert lives(other)
            for _ in range(3):
                gc.collect()
                assert lives(other)
        assert "Task was destroyed but it is pending" not in caplog.text

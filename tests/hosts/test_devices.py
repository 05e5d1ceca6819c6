"""Rooms and presence belong to the device, on every host."""

from __future__ import annotations

import itertools

import pytest

from iotio_protocol import v1
from tests.support.hosts import Host, eventually, host
from tests.support.wire import Opcode, RawPeer, v1_headers

__all__ = ["host"]  # the fixture

COME = "offline online connected, tests.support.app"
NUMBERS = itertools.count()


@pytest.fixture
def name() -> str:
    """An id of its own for each test: the server is one for all."""
    return f"lasting-{next(NUMBERS)}"


def connect(host: Host, client_id: str, client_type: str = "echo") -> RawPeer:
    before = host.log.of(client_id).count("on_connect")
    peer = host.peer()
    assert peer.upgrade(headers=v1_headers(client_id, client_type)).status == 101
    host.log.wait(client_id, "on_connect", before + 1)
    return peer


def drop(host: Host, client_id: str, peer: RawPeer) -> None:
    peer.close()
    eventually(lambda: client_id not in host.state()["clients"])


def presence(host: Host, client_id: str) -> list[str]:
    return host.log.of(f"presence of {client_id}")


def told(host: Host, client_id: str, what: str, count: int = 1) -> list[str]:
    """Wait for a change of presence; all changes."""
    return host.log.wait(f"presence of {client_id}", f"{what}, tests.support.app", count)


def emit_to_room(host: Host, room: str) -> tuple[int, list[str]]:
    result = host.call("emit", "push", "x", room=room)["r"]
    return result["sent"], result["offline"]


def test_a_drop_changes_neither_rooms_nor_presence(host: Host, name: str) -> None:
    peer = connect(host, name)
    assert host.call("join", name, name)["r"] is True
    assert emit_to_room(host, name) == (1, [])
    assert peer.expect_frame().payload == v1.encode("push", "x")
    for _ in range(2):
        drop(host, name, peer)
        assert emit_to_room(host, name) == (0, [name])
        peer = connect(host, name)
        assert emit_to_room(host, name) == (1, [])
        assert peer.expect_frame().payload == v1.encode("push", "x")
    with connect(host, name) as last:
        host.log.wait(name, "reason:takeover")
        assert emit_to_room(host, name) == (1, [])
        assert last.expect_frame().payload == v1.encode("push", "x")
        assert told(host, name, "offline online connected") == [COME]
    peer.close()


def test_gone_for_longer_than_its_grace_time(host: Host, name: str) -> None:
    drop(host, name, connect(host, name, "other"))
    gone = "online offline transport_closed"
    assert told(host, name, gone) == [COME, f"{gone}, tests.support.app"]
    assert host.call("device", name)["r"] == f"<DeviceHandle {name!r} type='other' offline>"
    connect(host, name, "other").close()
    assert told(host, name, gone, 2) == [COME, f"{gone}, tests.support.app"] * 2


@pytest.mark.parametrize(("method", "reason"), [("remove", "removed"), ("forget", "forgotten")])
@pytest.mark.parametrize("client_type", ["echo", "other"])
def test_at_once(host: Host, name: str, method: str, reason: str, client_type: str) -> None:
    with connect(host, name, client_type) as peer:
        host.call("join", name, name)
        assert host.call(method, name)["r"] is True
        assert told(host, name, f"online offline {reason}")[0] == COME
        close = peer.expect_frame()
        assert (close.opcode, close.close_code) == (Opcode.CLOSE, 1000)
    eventually(lambda: name not in host.state()["clients"])
    assert emit_to_room(host, name) == (0, [name] if method == "remove" else [])
    known = host.call("device", name)["r"]
    assert known == (f"<DeviceHandle {name!r} type={client_type!r} offline>" if method == "remove" else None)
    with connect(host, name, client_type):
        assert len(told(host, name, "offline online connected", 2)) == 3

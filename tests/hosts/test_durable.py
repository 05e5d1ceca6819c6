"""Durable messages on every host, with each kind of store: kept for who is away, and handled once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from iotio_protocol import v1, v2
from tests.support.hosts import IN_PROCESS, KINDS, Host, eventually, serve
from tests.support.v2 import V2Device
from tests.support.wire import Frame, Opcode, RawPeer, v1_headers

NUMBERS = itertools.count()
PLACES = [(kind, "memory") for kind in IN_PROCESS] + [(kind, "sqlite") for kind in KINDS]


@pytest.fixture(scope="module", params=PLACES, ids="-".join)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Every host, one server for all tests of the module."""
    kind, store = request.param
    url = store if store == "memory" else f"sqlite:///{tmp_path_factory.mktemp('store') / 'iotio.db'}"
    with serve(kind, store=url) as running:
        yield running


@pytest.fixture
def name() -> str:
    """An id of its own for each test."""
    return f"durable-{next(NUMBERS)}"


def connect(host: Host, name: str, **fields: object) -> V2Device:
    before = host.log.of(name).count("on_connect")
    device = V2Device(host.port, name, fields=fields)
    host.log.wait(name, "on_connect", before + 1)
    return device


def drop(host: Host, name: str, peer: RawPeer) -> None:
    peer.close()
    eventually(lambda: name not in host.state()["clients"])


def emit(host: Host, name: str, value: object) -> list[str]:
    """A Flask view emits; when it returns, the message is written. Returns who is away."""
    answer = host.call("emit", "push", value, client_id=name, durable=True)
    assert answer["ok"], answer
    offline: list[str] = answer["r"]["offline"]
    return offline


def take(device: V2Device) -> tuple[int, int, object]:
    packet = device.expect()
    assert isinstance(packet, v2.Packet), packet
    assert (packet.event, packet.flags) == ("push", v2.DURABLE | v2.TIME)
    return packet.previous, packet.number, packet.value


def test_a_device_that_is_away_gets_it_when_it_is_back(host: Host, name: str) -> None:
    device = connect(host, name)
    stream = device.welcome["sends"]
    assert emit(host, name, "a") == []
    assert take(device) == (0, 1, "a")
    drop(host, name, device)
    assert emit(host, name, "b") == [name]
    assert emit(host, name, "c") == [name]
    with connect(host, name, heard={"stream": stream, "upto": 1}) as device:
        assert [take(device), take(device)] == [(1, 2, "b"), (2, 3, "c")]
        device.send_packet(v2.encode_ack(3))
        device.send("seq", "after the ACK")
        host.log.wait(name, "seq after the ACK")
    with connect(host, name) as device:  # it remembers nothing, and all of it is over
        assert emit(host, name, "d") == []
        assert take(device) == (0, 4, "d")


@pytest.mark.parametrize("event", ["seq", "aseq"])
def test_handled_once_and_acknowledged(host: Host, name: str, event: str) -> None:
    def send(device: V2Device, number: int, value: str) -> None:
        device.send_packet(v2.encode(event, value, v2.DURABLE, number=number, previous=number - 1))

    with connect(host, name, sends="S") as device:
        for number in (1, 1, 2):
            send(device, number, f"m{number}")
        while device.expect() != v2.Ack(2):
            pass
        drop(host, name, device)
    with connect(host, name, sends="S") as device:
        assert device.welcome["heard"] == {"stream": "S", "upto": 2}
        for number in (2, 3):
            send(device, number, f"m{number}")
        while device.expect() != v2.Ack(3):
            pass
    assert [what for what in host.log.of(name) if what.startswith("seq")] == ["seq m1", "seq m2", "seq m3"]


@pytest.mark.parametrize("event", ["durable", "adurable"])
def test_a_handler_emits(host: Host, name: str, event: str) -> None:
    with connect(host, name) as device:
        device.send(event, "x")
        assert take(device) == (0, 1, "x")
        if event == "adurable":
            host.log.wait(name, "written True")


def test_a_device_of_v1(host: Host, name: str) -> None:
    """Its pong says that it has read what came before the ping; a foreign ASGI server sends none for us."""

    def come() -> RawPeer:
        before = host.log.of(name).count("on_connect")
        peer = host.peer()
        peer.upgrade(headers=v1_headers(name, "echo"))
        host.log.wait(name, "on_connect", before + 1)
        return peer

    def expect(peer: RawPeer, value: str) -> Frame | None:
        assert v1.decode(peer.expect_frame().payload) == ("push", value)
        if host.kind == "asgi":
            return None
        ping = peer.expect_frame()
        assert ping.opcode == Opcode.PING
        return ping

    drop(host, name, come())
    assert emit(host, name, "a") == [name]
    peer = come()
    expect(peer, "a")
    drop(host, name, peer)
    peer = come()
    if host.kind != "asgi":  # it did not answer, so it may not have read that
        ping = expect(peer, "a")
        assert ping is not None
        peer.send_frame(Opcode.PONG, ping.payload)
    peer.send_binary(v1.encode("none", "x"))
    host.log.wait(name, "none")
    drop(host, name, peer)
    with come() as peer:
        emit(host, name, "b")
        expect(peer, "b")


def test_what_the_device_ends_three_connections_behind_is_too_large(host: Host, name: str) -> None:
    drop(host, name, connect(host, name))
    assert emit(host, name, "large") == [name]
    for _ in range(3):
        device = connect(host, name)
        assert take(device) == (0, 1, "large")
        device.send_close(1009)
        assert device.expect_frame().close_code == 1009
        drop(host, name, device)
    with connect(host, name) as device:
        assert emit(host, name, "small") == []
        assert take(device) == (0, 2, "small")

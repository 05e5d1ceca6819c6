"""What a program reads and sets of devices, in every protocol: see docs/explanation/state.md."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from iotio import DeviceType, IoTManager
from iotio.core.handles import DeviceHandle
from iotio.endpoints import BooleanEndpoint, FloatEndpoint
from iotio.testing import FakeDevice
from iotio_protocol.errors import InvalidData, ReadOnly, UnknownEndpoint, VersionConflict
from iotio_protocol.twin import NO_HANDLER, State, Status

from .devices import ENDPOINTS, make_manager, the_device

CONFIRMED, PENDING, ASSUMED, REJECTED = Status.CONFIRMED, Status.PENDING, Status.ASSUMED, Status.REJECTED
WAIT = 5.0


@pytest.fixture
def manager() -> IoTManager:
    return make_manager()


@pytest.fixture(params=[2, 1])
def any_lamp(request: pytest.FixtureRequest, manager: IoTManager) -> Iterator[FakeDevice]:
    """A device of each protocol that declares endpoints."""
    with manager.test_client("kitchen", "lamp", endpoints=ENDPOINTS, protocol=request.param) as lamp:
        yield lamp


@pytest.fixture
def lamp(manager: IoTManager) -> Iterator[FakeDevice]:
    with manager.test_client("kitchen", "lamp", endpoints=ENDPOINTS) as lamp:
        yield lamp


@pytest.fixture
def old_lamp(manager: IoTManager) -> Iterator[FakeDevice]:
    with manager.test_client("kitchen", "lamp", endpoints=ENDPOINTS, protocol=1) as lamp:
        yield lamp


def state(device: DeviceHandle, endpoint_id: str = "level") -> State:
    return device.state[endpoint_id]


def test_nothing_is_known_at_first(any_lamp: FakeDevice) -> None:
    assert the_device(any_lamp).state == {one["id"]: State(one["id"]) for one in ENDPOINTS}


def test_an_event_of_an_endpoint_is_a_report(any_lamp: FakeDevice) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    any_lamp.send("level", 7)
    found = state(the_device(any_lamp))
    assert (found.reported, found.status, found.stale, found.out_of_range) == (7, CONFIRMED, False, False)
    assert found.reported_at is not None
    assert found.reported_at >= before


def test_a_report_of_several(any_lamp: FakeDevice) -> None:
    any_lamp.report({"level": 500, "heat": 21.5, "on": True})
    found = the_device(any_lamp).state
    assert [found[name].reported for name in ("level", "heat", "on")] == [500, 21.5, True]
    assert [found[name].out_of_range for name in ("level", "heat", "on")] == [True, False, False]


def test_a_float_as_text_from_v1(old_lamp: FakeDevice) -> None:
    old_lamp.send("heat", "21.5")
    assert state(the_device(old_lamp), "heat").reported == 21.5


def test_set_and_answer(lamp: FakeDevice) -> None:
    device = the_device(lamp)
    got: list[Any] = []
    lamp.on("level", got.append)
    result = device.set("level", "80", by="api:anna")
    assert result.version == 1
    assert result.wait(WAIT)
    assert got == [80]
    found = state(device)
    assert (found.status, found.reported, found.desired, found.desired_by, found.reason) == (
        CONFIRMED,
        80,
        80,
        "api:anna",
        "",
    )
    assert result.states == {"level": found}
    assert repr(result) == "<SetResult: 'level' is confirmed>"


def test_the_value_in_force_counts(lamp: FakeDevice) -> None:
    lamp.on("level", lambda value: min(value, 50))
    result = the_device(lamp).set("level", 80)
    assert result.wait(WAIT)
    assert (state(the_device(lamp)).reported, state(the_device(lamp)).desired) == (50, 50)


def test_an_answer_of_another_type_means_as_asked(lamp: FakeDevice) -> None:
    lamp.on("level", lambda value: {"ok": True})
    assert the_device(lamp).set("level", 80).wait(WAIT)
    assert state(the_device(lamp)).reported == 80


def test_refused_by_the_device(lamp: FakeDevice) -> None:
    def refuse(value: Any) -> None:
        raise ValueError("too bright")

    lamp.on("level", refuse)
    result = the_device(lamp).set("level", 80)
    assert not result.wait(WAIT)
    found = state(the_device(lamp))
    assert (found.status, found.reason, found.desired, found.reported_at) == (
        REJECTED,
        "ValueError: too bright",
        80,
        None,
    )


def test_no_handler(lamp: FakeDevice) -> None:
    assert not the_device(lamp).set("level", 80).wait(WAIT)
    assert state(the_device(lamp)).reason == NO_HANDLER


def test_a_set_of_v1_is_assumed(old_lamp: FakeDevice) -> None:
    device = the_device(old_lamp)
    result = device.set("level", 80)
    assert old_lamp.expect("level") == 80
    assert result
    assert (state(device).status, state(device).reported_at) == (ASSUMED, None)
    old_lamp.send("level", 80)  # its own word, as nothing is outstanding
    assert (state(device).status, state(device).reported) == (CONFIRMED, 80)


def test_v1_has_its_own_word(old_lamp: FakeDevice) -> None:
    device = the_device(old_lamp)
    result = device.set("level", 80)
    old_lamp.report({"level": 80})
    assert state(device).status is CONFIRMED
    assert result


def test_a_float_for_v1_is_text(manager: IoTManager) -> None:
    endpoints = [{"id": "target", "name": "Target", "type": "float"}]
    with manager.test_client("old", "lamp", endpoints=endpoints, protocol=1) as lamp:
        the_device(lamp).set("target", 21.5)
        assert lamp.expect("target") == "21.5"
        assert state(the_device(lamp), "target").status is ASSUMED


def test_set_while_away(any_lamp: FakeDevice) -> None:
    device = the_device(any_lamp)
    any_lamp.on("level", lambda value: None)
    any_lamp.disconnect()
    first, last = device.set("level", 10), device.set({"level": 11, "on": True})
    assert last.version is None
    assert last.versions == {"level": 2, "on": 1}
    assert (state(device).status, state(device).reason, bool(last)) == (PENDING, "away", False)
    any_lamp.on("on", lambda value: None)
    any_lamp.connect()
    assert last.wait(WAIT) or not any_lamp.received
    any_lamp.read()
    assert last
    assert not first  # it was set anew
    if any_lamp._protocol == 1:
        assert any_lamp.received == [("level", 11), ("on", True)]


def test_sleeping_until(lamp: FakeDevice) -> None:
    lamp.sleep(3600)
    the_device(lamp).set("level", 10)
    assert state(the_device(lamp)).reason.startswith("sleeping until 20")


@pytest.mark.parametrize(
    ("values", "value", "error"),
    [
        ("nix", 1, UnknownEndpoint),
        ("heat", 21.5, ReadOnly),
        ("level", 101, InvalidData),
        ("level", "high", InvalidData),
        ("text", "x" * 5000, InvalidData),
        ({"level": 5, "nix": 1}, None, UnknownEndpoint),
        ({"level": 5, "heat": 1}, None, ReadOnly),
        ({}, None, ValueError),
    ],
)
def test_what_cannot_be_set_changes_nothing(lamp: FakeDevice, values: Any, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        the_device(lamp).set(values, value)
    assert all(one == State(name) for name, one in the_device(lamp).state.items())


@pytest.mark.parametrize("arguments", [{"ttl": 0}, {"ttl": float("nan")}, {"by": "x" * 201}])
def test_wrong_arguments(lamp: FakeDevice, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"ttl|by"):
        the_device(lamp).set("level", 1, **arguments)


def test_compare_and_set(lamp: FakeDevice) -> None:
    device = the_device(lamp)
    lamp.disconnect()
    assert device.set("level", 5, if_version=0).version == 1
    with pytest.raises(VersionConflict, match="has version 1, not 0: it was set since") as caught:
        device.set("level", 6, if_version=0)
    assert caught.value.current == state(device)
    assert state(device).desired == 5
    with pytest.raises(VersionConflict):
        device.set({"on": True, "level": 6}, if_version={"level": 0})
    assert state(device, "on").version == 0
    device.set({"on": True, "level": 6}, if_version={"level": 1})
    with pytest.raises(ValueError, match="a mapping of endpoints"):
        device.set({"on": True, "level": 6}, if_version=1)
    with pytest.raises(ValueError, match="'nix', which is not set"):
        device.set("level", 6, if_version={"nix": 1})


def test_a_report_does_not_conflict(lamp: FakeDevice) -> None:
    lamp.report({"level": 1})
    assert the_device(lamp).set("level", 2, if_version=0).version == 1


def test_time_to_live(lamp: FakeDevice) -> None:
    device = the_device(lamp)
    lamp.disconnect()
    result = device.set("level", 5, ttl=60)
    device.set("on", True)
    lamp.clock.advance(59)
    assert state(device).status is PENDING
    lamp.clock.advance(2)
    assert (state(device).status, state(device).reason) == (REJECTED, "expired")
    assert not result
    lamp.connect()
    lamp.read()
    assert state(device).status is REJECTED
    assert state(device, "on").reason == NO_HANDLER


def test_a_later_set_has_its_own_time(lamp: FakeDevice) -> None:
    lamp.disconnect()
    the_device(lamp).set("level", 5, ttl=60)
    the_device(lamp).set("level", 6)
    lamp.clock.advance(100)
    assert state(the_device(lamp)).status is PENDING


def test_unset(any_lamp: FakeDevice) -> None:
    device = the_device(any_lamp)
    assert not device.unset("level")
    any_lamp.disconnect()
    result = device.set("level", 5)
    assert device.unset("level")
    assert (state(device).status, state(device).desired_at, bool(result)) == (Status.UNKNOWN, None, False)
    any_lamp.connect()
    assert any_lamp.received == []
    with pytest.raises(UnknownEndpoint):
        device.unset("nix")


def test_a_device_that_moves_by_itself(lamp: FakeDevice) -> None:
    device = the_device(lamp)
    lamp.on("level", lambda value: None)
    assert device.set("level", 5).wait(WAIT)
    lamp.report({"level": 6})
    assert (state(device).status, state(device).reported, state(device).desired_at) == (CONFIRMED, 6, None)


def test_hold_sets_it_again_but_not_as_fast_as_it_moves() -> None:
    with make_manager(DeviceType("lamp", hold=["level"])).test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        device = the_device(lamp)
        got: list[Any] = []
        lamp.on("level", got.append)
        assert device.set("level", 5).wait(WAIT)
        for value in range(50):
            lamp.report({"level": value + 10})
            lamp.read()
        assert 2 <= len(got) <= 3
        lamp.clock.advance(5)
        lamp.read()
        assert state(device).reported == 5
        assert set(got) == {5}


@pytest.mark.parametrize("protocol", [2, 1])
def test_hold_after_a_restart(protocol: int) -> None:
    manager = make_manager(DeviceType("lamp", hold=["level"]))
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS, protocol=protocol) as lamp:
        got: list[Any] = []
        lamp.on("level", got.append)
        lamp.on("on", got.append)
        device = the_device(lamp)
        result = device.set({"level": 5, "on": True})
        lamp.read()
        assert result.wait(WAIT)
        lamp.disconnect("transport_closed")
        lamp.connect()
        lamp.read()
        assert device.set("text", "").wait(0.01) in (True, False)
        seen = got if protocol == 2 else [value for _, value in lamp.received]
        assert [value for value in seen if value != ""] == [5, True, 5]


def test_without_hold_the_knob_stays(any_lamp: FakeDevice) -> None:
    any_lamp.on("level", lambda value: None)
    result = the_device(any_lamp).set("level", 5)
    any_lamp.read()
    assert result.wait(WAIT)
    any_lamp.disconnect("transport_closed")
    before = len(any_lamp.received)
    any_lamp.connect()
    any_lamp.report({"level": 9})
    assert len(any_lamp.received) == before
    assert (state(the_device(any_lamp)).reported, state(the_device(any_lamp)).desired_at) == (9, None)


def test_what_a_device_says_as_it_comes(lamp: FakeDevice) -> None:
    device = the_device(lamp)
    lamp.on("level", lambda value: None)
    assert device.set("level", 5).wait(WAIT)
    lamp.report({"on": True})
    lamp.connect({"level": 9, "heat": 20, "nix": 1})
    found = device.state
    assert [found[name].reported for name in ("level", "heat", "on")] == [9, 20.0, True]
    assert found["level"].desired_at is None  # somebody has turned the knob
    assert device.client is not None
    assert device.client.counters["invalid_report"] == 1


@pytest.mark.parametrize(("said", "sent"), [({"level": 5}, []), ({"level": 0}, [5]), ({}, [5])])
def test_hold_and_what_a_device_says_as_it_comes(said: dict[str, Any], sent: list[int]) -> None:
    with make_manager(DeviceType("lamp", hold=["level"])).test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        device = the_device(lamp)
        got: list[Any] = []
        lamp.on("level", lambda value: None)
        assert device.set("level", 5).wait(WAIT)
        lamp.on("level", got.append)
        lamp.connect(said)
        lamp.read()
        assert got == sent
        assert (state(device).reported, state(device).status) == (5, CONFIRMED)


def test_an_old_device_with_endpoints_of_its_type() -> None:
    class Meter(DeviceType):
        """Of devices that declare nothing."""

        endpoints = (
            FloatEndpoint("kwh", "Energy", unit="kWh", access="read", total=True),
            BooleanEndpoint("relay", "Relay"),
        )

    with make_manager(Meter("lamp")).test_client("m", "lamp", protocol=0) as meter:
        device = the_device(meter)
        meter.send("kwh", "12.5")
        assert state(device, "kwh").reported == 12.5
        result = device.set("relay", True)
        assert meter.expect("relay") == "True"
        meter.read()
        assert result
        assert state(device, "relay").status is ASSUMED


def test_stale(lamp: FakeDevice) -> None:
    lamp.report({"level": 1})
    assert not state(the_device(lamp)).stale
    lamp.disconnect("transport_closed")
    assert not state(the_device(lamp)).stale  # it has its grace time
    lamp.clock.advance(20)
    assert state(the_device(lamp)).stale


def test_max_age() -> None:
    with make_manager(DeviceType("lamp", max_age=60)).test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.report({"level": 1})
        lamp.clock.advance(59)
        assert not state(the_device(lamp)).stale
        lamp.clock.advance(2)
        assert state(the_device(lamp)).stale


def test_emit_and_call_do_not_set(manager: IoTManager, lamp: FakeDevice) -> None:
    updates: list[Any] = []
    manager.event(named("on_update", lambda *args: updates.append(args)))
    lamp.on("level", lambda value: value)
    device = the_device(lamp)
    device.emit("level", 5)
    assert device.call("level", 6) == 6
    assert state(device).version == 0
    assert len(updates) == 1
    assert device.set("level", 7).wait(WAIT)
    assert len(updates) == 1


def named(name: str, function: Any) -> Any:
    function.__name__ = name
    return function


def test_a_program_reports_for_a_device(lamp: FakeDevice) -> None:
    device = the_device(lamp)
    lamp.disconnect()
    device.report({"level": 7, "heat": "20.5"})
    assert (state(device).reported, state(device, "heat").reported) == (7, 20.5)
    device.report({"level": 8}, datetime(2020, 1, 1, tzinfo=UTC))  # of the past
    assert state(device).reported == 7
    with pytest.raises(UnknownEndpoint):
        device.report({"nix": 1})
    with pytest.raises(InvalidData, match="cannot be 'x'"):
        device.report({"level": "x"})


def test_through_the_manager_and_the_client(manager: IoTManager, lamp: FakeDevice) -> None:
    client = manager.client("kitchen")
    assert client is not None
    lamp.disconnect()
    assert manager.set("kitchen", "level", 1).version == 1
    assert manager.set(the_device(lamp), {"level": 2}).version == 2
    assert client.set("level", 3, if_version=2).version == 3
    assert client.state == the_device(lamp).state
    with pytest.raises(UnknownEndpoint, match="no device 'nobody'"):
        manager.set("nobody", "level", 1)


def test_a_forgotten_device(lamp: FakeDevice) -> None:
    device = the_device(lamp)
    lamp.disconnect()
    result = device.set("level", 1)
    device.forget()
    assert not result.wait(WAIT)
    with pytest.raises(UnknownEndpoint):
        device.set("level", 2)


def test_other_endpoints_than_before(manager: IoTManager, lamp: FakeDevice) -> None:
    device = the_device(lamp)
    lamp.report({"level": 1, "on": True})
    with manager.test_client("kitchen", "lamp", endpoints=ENDPOINTS[1:]):
        assert "level" not in device.state
        assert state(device, "on").reported is True


def test_a_thousand_sets_over_twenty_cuts(manager: IoTManager) -> None:
    """The device ends at the last one, in at most 40 messages: one is on its way, and the newest waits behind it."""
    with manager.test_client("slider", "lamp", endpoints=ENDPOINTS, protocol=1) as lamp:
        device = the_device(lamp)
        got: list[Any] = []
        for number in range(1000):
            device.set("level", number % 101)
            if number % 50 == 49:
                got += [value for _, value in lamp.received][len(got) :]
                lamp.disconnect("transport_closed")
                lamp.connect()
        lamp.read()
        lamp.read()
        got = [value for _, value in lamp.received]
        assert got[-1] == 999 % 101
        assert len(got) <= 41
        assert state(device).status is ASSUMED


def test_many_threads_set_one_endpoint(manager: IoTManager, lamp: FakeDevice) -> None:
    device = the_device(lamp)
    got: list[Any] = []
    lamp.on("level", got.append)
    threads = [
        threading.Thread(target=lambda start=start: [device.set("level", start + n) for n in range(20)])
        for start in (0, 30, 60)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert device.set("level", 99).wait(WAIT)
    assert (got[-1], state(device).version) == (99, 61)


async def test_in_a_coroutine(manager: IoTManager, lamp: FakeDevice) -> None:
    lamp.on("level", lambda value: None)
    result = the_device(lamp).set("level", 5)
    assert not await result.written()  # there is no store
    assert await result.finished(WAIT)
    with pytest.raises(RuntimeError, match=r"await result\.finished\(\)"):
        result.wait()


def test_waiting_ends_with_the_confirm_timeout() -> None:
    with make_manager(DeviceType("lamp", confirm_timeout=0.05)).test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.disconnect()
        assert not the_device(lamp).set("level", 5).wait()


def test_names_and_notes(manager: IoTManager, lamp: FakeDevice) -> None:
    device = the_device(lamp)
    assert (device.name, device.note) == ("", "")
    before = manager.presence.remembered.size
    device.name, device.note = "Küche", "behind the door"
    assert (device.name, device.note) == ("Küche", "behind the door")
    assert manager.presence.remembered.size == before + 6 + 15
    with pytest.raises(ValueError, match="may have 200 characters"):
        device.name = "x" * 201
    with pytest.raises(TypeError, match="is a str, not int"):
        device.note = 5  # type: ignore[assignment]
    device.name = device.note = ""
    assert manager.presence.remembered.size == before


def test_twins_count_for_the_bytes_of_devices(manager: IoTManager, lamp: FakeDevice) -> None:
    before = manager.presence.remembered.size
    lamp.report({"text": "x" * 1000, "level": 5})
    assert before + 1400 <= manager.presence.remembered.size <= before + 1500
    the_device(lamp).forget()
    assert manager.presence.remembered.size < before


def test_a_device_without_endpoints_costs_no_call(manager: IoTManager) -> None:
    """Nothing of this package runs for it: not as it comes, not for its events, not as it goes."""

    class Echo(DeviceType):
        """Sends back."""

        def on_echo(self, message: Any, client: Any) -> Any:
            return message

    manager.add_type(Echo("echo"))
    called: list[str] = []

    def note(frame: Any, kind: str, argument: Any) -> None:
        if kind == "call" and "iotio/state" in frame.f_code.co_filename.replace("\\", "/"):
            called.append(frame.f_code.co_name)

    plain = manager.test_client("plain", "echo")
    plain.disconnect()
    sys.setprofile(note)
    try:
        plain.connect()
        plain.send("echo", "x")
        plain.send("nothing", "x")
        plain.disconnect()
    finally:
        sys.setprofile(None)
    assert called == []
    plain.close()

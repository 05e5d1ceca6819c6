"""The interfaces between the parts of the core: the real parts have all that they ask for."""

from __future__ import annotations

import ast
import asyncio
import inspect
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest

from iotio import DeviceType
from iotio.core import ports
from iotio.core.connection import Connection
from iotio.core.manager import Manager
from iotio.history.recorder import Recorder
from iotio.history.settings import History
from iotio.state import Twins
from iotio.state.device_twins import DeviceTwins
from iotio.store import MemoryStore
from tests.support.memory import make_manager, v1_device


def needs(port: type) -> set[str]:
    """Return the names that an interface asks for, those of its bases included."""
    return {
        name
        for base in port.__mro__
        if base.__module__ == ports.__name__
        for name in (*vars(base), *inspect.get_annotations(base))
        if not name.startswith("_")
    }


# mypy compares the signatures; the tests compare the names, for the compiled classes, too.


def of_a_connection(connection: Connection) -> dict[type, object]:
    link: ports.Link = connection
    assert connection.durable is not None
    durable_link: ports.DurableLink = connection.durable
    calls: ports.CallsPort = connection.calls
    twin_link: ports.TwinLink = connection
    return {ports.Link: link, ports.DurableLink: durable_link, ports.CallsPort: calls, ports.TwinLink: twin_link}


def of_a_manager(manager: Manager) -> dict[type, object]:
    operations: ports.Operations = manager
    presence: ports.PresencePort = manager
    server: ports.ServerPort = manager
    emitter: ports.EmitterPort = manager.emitter
    announcements: ports.Announcements = manager.presence
    warnings: ports.Warnings = manager.log_throttle
    types: ports.TypesPort = manager.types
    callbacks: ports.CallbacksPort = manager.callbacks
    found = manager.types.get("echo")
    assert found is not None
    (loop,) = manager.loops
    host_loop: ports.HostLoop = loop
    place: ports.WorkPlace = loop
    outcome: ports.Outcome = loop.submit(asyncio.sleep(0), Context())
    background: ports.BackgroundPort = manager
    twins = Twins(manager)
    twins_port: ports.TwinsPort = twins
    device = manager.device("d1")
    assert device is not None
    of_device: ports.TwinsOfDevice = DeviceTwins(twins, device)
    work_callbacks: ports.WorkCallbacks = manager.callbacks
    options: ports.TypeOptions = found
    history: ports.HistoryPort = manager.history
    sink: ports.ReadingSink = Recorder(MemoryStore().history(), History())
    return {
        ports.Operations: operations,
        ports.PresencePort: presence,
        ports.ServerPort: server,
        ports.EmitterPort: emitter,
        ports.Announcements: announcements,
        ports.Warnings: warnings,
        ports.TypesPort: types,
        ports.CallbacksPort: callbacks,
        ports.TypeOptions: options,
        ports.HostLoop: host_loop,
        ports.WorkPlace: place,
        ports.Outcome: outcome,
        ports.BackgroundPort: background,
        ports.WorkCallbacks: work_callbacks,
        ports.HistoryPort: history,
        ports.TwinsPort: twins_port,
        ports.TwinsOfDevice: of_device,
        ports.ReadingSink: sink,
    }


@pytest.fixture
def manager() -> Manager:
    """A manager whose host has a loop, as a device has come."""
    manager = make_manager(DeviceType("echo"))
    v1_device(manager)
    return manager


def test_a_connection_and_its_parts(manager: Manager) -> None:
    connection = v1_device(manager).connection
    for port, part in of_a_connection(connection).items():
        assert [name for name in sorted(needs(port)) if not hasattr(part, name)] == [], port


def test_the_parts_of_a_manager(manager: Manager) -> None:
    for port, part in of_a_manager(manager).items():
        assert [name for name in sorted(needs(port)) if not hasattr(part, name)] == [], port


def test_each_interface_is_tested() -> None:
    manager = make_manager(DeviceType("echo"))
    here: set[Any] = {*of_a_connection(v1_device(manager).connection), *of_a_manager(manager)}
    assert here == {one for one in vars(ports).values() if inspect.isclass(one) and one.__module__ == ports.__name__}


def test_the_server_does_what_handles_and_presence_need() -> None:
    assert needs(ports.Operations) | needs(ports.PresencePort) < needs(ports.ServerPort)


def test_the_interfaces_name_no_part_above_them() -> None:
    tree = ast.parse(Path(str(ports.__file__)).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level}
    assert imported == {"primitives", "readings", "results", "storage.records", "target"}

"""Public names, parameters and defaults, and what an import brings along."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import FunctionType
from typing import Any

import pytest

import iotio
import iotio_client
from iotio_client import AsyncIoTClient, EndpointConstraint, EndpointInfo, IoTClient

MOST_METHODS = 40  # of a client; what is more belongs to its driver or its shell


def parameters(function: Any) -> list[str]:
    """Names of what can be given by position, with the defaults that matter."""
    found = inspect.signature(function).parameters.values()
    return [
        one.name if one.default in (one.empty, None) or callable(one.default) else f"{one.name}={one.default}"
        for one in found
        if one.kind is one.POSITIONAL_OR_KEYWORD and one.name != "self"
    ]


def test_names() -> None:
    assert {"IoTClient", "EndpointInfo", "EndpointType", "EndpointConstraint"} <= set(iotio_client.__all__)
    assert iotio_client.__version__ == iotio.__version__
    assert iotio_client.__protocol_version__ == "1"
    for name in iotio_client.__all__:
        assert hasattr(iotio_client, name)


@pytest.mark.parametrize("client", [IoTClient, AsyncIoTClient])
def test_a_client_is_put_together(client: type) -> None:
    kinds = (FunctionType, property, staticmethod, classmethod)
    methods = {name for one in client.__mro__[:-1] for name, value in vars(one).items() if isinstance(value, kinds)}
    assert len(methods) <= MOST_METHODS, sorted(methods)


def test_interface_of_0_4_12() -> None:
    ctor = ["client_id", "client_type", "client_data", "logging_level", "encoder"]
    assert parameters(IoTClient) == ctor
    assert parameters(IoTClient.connect) == ["domain", "timeout", "sslopt", "use_tls"]
    assert parameters(IoTClient.run) == [
        "domain",
        "timeout",
        "sslopt",
        "use_tls",
        "reconnect=True",
        "reconnect_delay",
    ]
    assert parameters(IoTClient.send) == ["event", "message"]
    assert parameters(IoTClient.on) == ["event", "endpoint_info"]
    assert parameters(EndpointInfo) == ["name", "data_type", "special_id", "constraints"]
    assert parameters(EndpointConstraint) == [
        "min_v",
        "max_v",
        "increment",
        "length",
        "allow_list",
        "deny_list",
        "values",
    ]
    client = IoTClient("d", "t")
    assert not client.connected
    for name in ("ensure_open", "handle", "stop", "on_connect", "on_disconnect", "on_error", "logger"):
        assert hasattr(client, name)


def test_defaults_that_differ_from_0_4_12() -> None:
    """Each is in CHANGELOG.md."""
    changed: dict[tuple[Any, str], object] = {
        (IoTClient, "logging_level"): None,  # 30 (WARNING): set the level whatever the program configures
        (IoTClient.connect, "use_tls"): None,  # True: opened wss, then plain ws, and used that; now see Target
        (IoTClient.run, "use_tls"): None,
        (IoTClient.run, "reconnect_delay"): None,  # 15: now 1 s, doubled up to 60 s, at random
    }
    for (function, name), default in changed.items():
        assert inspect.signature(function).parameters[name].default == default


def test_interface_of_0_1_0() -> None:
    assert parameters(AsyncIoTClient) == parameters(IoTClient)
    assert parameters(AsyncIoTClient.begin)[:2] == ["domain", "ssl_context"]
    assert parameters(AsyncIoTClient.run)[:2] == ["domain", "ssl_context"]
    for name in ("begin", "handle", "send", "wait_until_ready"):
        assert inspect.iscoroutinefunction(getattr(AsyncIoTClient, name))
    client = AsyncIoTClient("d", "t", {})
    assert client.socket is None
    assert client.handshake_sent is False
    client.loop.close()


def test_unknown_arguments_raise() -> None:
    with pytest.raises(TypeError):
        IoTClient("d", "t", colour="red")  # type: ignore[call-arg]


RUN = "import sys, {module}; bad = [m for m in {bad!r} if m in sys.modules]; sys.exit(str(bad) if bad else 0)"


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["iotio_client", "iotio_client.Endpoint"])
def test_import_brings_nothing_of_the_server(module: str) -> None:
    run(RUN.format(module=module, bad=["flask", "iotio.core", "iotio.app", "iotio.hosts", "iotio.http", "gevent"]))


def test_module_names_of_0_4_12() -> None:
    run(
        "import iotio_client\n"
        "from iotio_client.Endpoint import EndpointInfo, EndpointType, EndpointConstraint\n"
        "from iotio_client.Client import IoTClient\n"
        "from iotio_client.Errors import Errors\n"
        "from iotio_client.PacketEncoder import AbstractPacketEncoder, DefaultPacketEncoder, PacketDataType\n"
        "from iotio_client.types import sendable, event_pair\n"
        "assert EndpointInfo is iotio_client.EndpointInfo and IoTClient is iotio_client.IoTClient\n"
        "assert Errors.CLIENT_NO_ID.value == 'client_no_id' and PacketDataType.JSON == 4\n"
        "assert DefaultPacketEncoder.decode(DefaultPacketEncoder.encode('e', 5)) == ('e', 5)\n"
    )


def test_no_two_files_differ_by_case_only() -> None:
    from pathlib import Path

    for folder in (Path(str(iotio_client.__file__)).parent, Path(str(iotio_client.__file__)).parent / "compat"):
        names = [path.name.lower() for path in folder.iterdir()]
        assert len(names) == len(set(names))


BOTH_CLIENTS = {"iotio_client.sync_client", "iotio_client.async_client"}
SYNC = {"iotio_client.thread_shell", "websockets.sync.client"}
ASYNC = {"asyncio", "iotio_client.task_shell", "iotio_client.task_waits", "websockets.asyncio.client"}
SELDOM = {"sqlite3", "iotio_client.buffer_file", "iotio_protocol.endpoints", "iotio_protocol.session"}


def loaded(code: str) -> set[str]:
    """Which modules a fresh interpreter has after running this."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_neither_client_brings_along_the_other() -> None:
    none = loaded("import iotio_client")
    sync = loaded("from iotio_client import IoTClient")
    asynchronous = loaded("from iotio_client import AsyncIoTClient")
    assert none & (BOTH_CLIENTS | SYNC | ASYNC | SELDOM) == set()
    assert sync & (BOTH_CLIENTS | SYNC | ASYNC | SELDOM) == {"iotio_client.sync_client", *SYNC}
    assert asynchronous & (BOTH_CLIENTS | SYNC | ASYNC | SELDOM) == {"iotio_client.async_client", *ASYNC}


def test_what_a_client_brings_beside_the_library() -> None:
    """Time and memory of an import are spent on modules."""
    library = loaded("import websockets.sync.client")
    more = loaded("from iotio_client import IoTClient") - library
    assert len([name for name in more if not name.startswith("iotio_")]) < 12, sorted(more)
    assert len(more) < 60, sorted(more)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'iotio_client' has no attribute 'Nonsense'"):
        iotio_client.Nonsense  # noqa: B018  # the access is the test
    assert set(iotio_client.__all__) <= set(dir(iotio_client))

"""The public names, and what importing them brings along."""

from __future__ import annotations

import subprocess
import sys

import pytest

import iotio

NAMES = [
    "CallDisconnected",
    "CallError",
    "CallTimeout",
    "CallsUnsupported",
    "Delivery",
    "DeliveryState",
    "DeviceType",
    "DisconnectReason",
    "EmitResult",
    "EncodeError",
    "ErrorCode",
    "InvalidData",
    "IoTClient",
    "IoTError",
    "IoTManager",
    "Message",
    "NoHandler",
    "Options",
    "Presence",
    "PresenceReason",
    "RemoteError",
    "StoreError",
    "StoreUnavailable",
    "TooManyCalls",
    "call",
    "close_room",
    "emit",
    "join",
    "leave",
]


def test_public_names() -> None:
    assert sorted(iotio.__all__) == NAMES
    assert set(NAMES) <= set(dir(iotio))
    for name in NAMES:
        assert getattr(iotio, name).__name__ == name
    assert isinstance(iotio.__version__, str)
    assert isinstance(iotio.__author__, str)
    assert isinstance(iotio.__licence__, str)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'iotio' has no attribute 'Nonsense'"):
        iotio.Nonsense  # noqa: B018  # the access is the test


def test_star() -> None:
    namespace: dict[str, object] = {}
    exec("from iotio import *", namespace)
    assert set(NAMES) <= set(namespace)


def imported_by(code: str) -> set[str]:
    """Which modules a fresh interpreter has after running this."""
    program = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)
    return set(done.stdout.split())


SERVER = {"flask", "werkzeug", "gevent", "iotio.app", "iotio.core", "iotio.hosts", "iotio.http"}


@pytest.mark.parametrize("code", ["import iotio", "import iotio_protocol.v1", "import iotio_protocol.endpoints"])
def test_what_a_part_does_not_bring(code: str) -> None:
    assert imported_by(code) & SERVER == set()


@pytest.mark.parametrize(
    "code", ["import iotio_client", "from iotio_client import *", "import iotio_client; iotio_client.IoTClient"]
)
def test_a_device_gets_nothing_of_the_server(code: str) -> None:
    assert imported_by(code) & SERVER == set()


def test_a_server_needs_no_gevent() -> None:
    assert not any(name.startswith("gevent") for name in imported_by("from iotio import *"))


def test_the_core_needs_no_flask() -> None:
    assert imported_by("import iotio.core.manager, iotio.hosts.memory") & {"flask", "werkzeug", "gevent"} == set()

"""The public names, and what importing them brings along."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

import iotio
from tests.public_api import described
from tests.support.memory import make_manager, v1_device

NAMES = [
    "Bucket",
    "CallDisconnected",
    "CallError",
    "CallTimeout",
    "CallsUnsupported",
    "Delivery",
    "DeliveryState",
    "DeviceHandle",
    "DeviceType",
    "DisconnectReason",
    "EmitResult",
    "EncodeError",
    "ErrorCode",
    "History",
    "InvalidData",
    "IoTClient",
    "IoTError",
    "IoTManager",
    "Message",
    "NoHandler",
    "Options",
    "Presence",
    "PresenceReason",
    "ReadOnly",
    "RemoteError",
    "Series",
    "SetError",
    "SetResult",
    "Span",
    "State",
    "Status",
    "StoreError",
    "StoreUnavailable",
    "TooManyCalls",
    "UnknownEndpoint",
    "VersionConflict",
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


# What documents name, and what iot.io 0.3 and 0.4 have.
MANAGER = """
    acall add add_type api app asgi asgi_app auth_decorator backup begin call client client_logging_level clients
    close close_room connected_clients counters delivery device device_types devices emit encoder event every export
    forget get_validator init_app join leave log_update logger on_connect on_disconnect on_get_offline_validator
    on_presence on_start on_state on_stop on_update options refusals remove remove_client remove_client_by_id rooms run
    serve set
    socket start started stop test_client
"""
# The parts of a manager and what hosts and handles ask of it: for this package only.
MANAGER_PARTS = """
    background callbacks clock closing codec connections durable_messages emitter epochs explain gate history lifecycle
    log_throttle loops make_store_writer notifier presence recorder registry rooms_of run_awaitable scope
    session_factory step_of store_writer sweep twins types wait_here wall
"""
CLIENT = """
    acall call close connected connected_since counters data device emit encoder endpoints get_validator id info join
    last_seen leave logger logging_level manager message parse_endpoints rooms rtt send set socket state type
"""
CLIENT_PARTS = "as_sent checked declaration declared epoch inherit written_data"
DEVICE = """
    acall ahistory call client connected data emit endpoints forget history id join last_seen leave manager name note
    presence report rooms set since state type unset
"""
DEVICE_PARTS = "counted current endpoint lasting says_goodbye size sleeps snapshot tracker twins"
DEVICES = "forgotten get items keys values"
DELIVERY_PARTS = "assign await_store become is_stored number store_decided tell_written"
PARTS = {
    "IoTManager": MANAGER_PARTS,
    "IoTClient": CLIENT_PARTS,
    "DeviceHandle": DEVICE_PARTS,
    "Delivery": DELIVERY_PARTS,
    "FakeDevice": "read",
    "SetResult": "check_written tell_written wait_written",
    "VirtualClock": "run_on set stop",
}
MOST_METHODS = 56  # of a manager; what is more belongs to one of its parts


def names_of(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_signatures() -> None:
    """What programs call is final: a line that goes or differs breaks them. `tests/public_api.py` writes new ones."""
    pinned = Path(__file__).with_name("public_api.txt").read_text(encoding="utf-8").splitlines()
    assert described(PARTS) == pinned


def test_names_of_instances() -> None:
    manager = make_manager(iotio.DeviceType("echo"))
    v1_device(manager, "a")
    client, device = manager.client("a"), manager.device("a")
    assert names_of(iotio.IoTManager()) == {*MANAGER.split(), *MANAGER_PARTS.split()}
    assert names_of(client) == {*CLIENT.split(), *CLIENT_PARTS.split()}
    assert names_of(device) == {*DEVICE.split(), *DEVICE_PARTS.split()}
    assert names_of(manager.devices) == set(DEVICES.split())


def test_a_manager_is_put_together() -> None:
    kinds = (FunctionType, property, staticmethod, classmethod)
    of_ours = iotio.IoTManager.__mro__[:-1]
    methods = {name for one in of_ours for name, value in vars(one).items() if isinstance(value, kinds)}
    assert len(methods) <= MOST_METHODS, sorted(methods)


def test_the_handle_of_a_device_is_not_the_module_of_old() -> None:
    """`iotio.Device` is the module of iot.io 0.4 with the base class of device types."""
    module = importlib.import_module("iotio.Device")
    assert module.DeviceType is iotio.DeviceType
    assert not hasattr(module, "DeviceHandle")


def test_a_failing_store_is_an_error_of_ours() -> None:
    assert issubclass(iotio.StoreUnavailable, iotio.StoreError)
    assert issubclass(iotio.StoreError, iotio.IoTError)


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

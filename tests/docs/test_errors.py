"""docs/reference/errors.md has each public exception, error code, status and CLOSE code of the sources, no other."""

from __future__ import annotations

import builtins
import re
from types import ModuleType

import pytest

import iotio
import iotio.endpoints
import iotio_client
from iotio_client import ClientError
from iotio_client import errors as client_errors
from iotio_protocol import frames, session
from iotio_protocol.errors import CallError, ErrorCode, IoTError, SetError
from iotio_protocol.reasons import DisconnectReason
from scripts.tools.environments import ROOT

PAGE = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
NEVER_A_CLOSE = {DisconnectReason.CLIENT_CLOSE, DisconnectReason.TRANSPORT_CLOSED}
"""How a device, or its network, ends a connection."""


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def public(*modules: ModuleType) -> dict[str, type[Exception]]:
    """The exceptions among the public names."""
    found = {name: getattr(module, name) for module in modules for name in module.__all__}
    return {name: value for name, value in found.items() if isinstance(value, type) and issubclass(value, Exception)}


SERVER = public(iotio, iotio.endpoints)
CLIENT = public(iotio_client)
CALLS = {name: one for name, one in SERVER.items() if issubclass(one, CallError)}
OF_CLIENT = {name: one for name, one in CLIENT.items() if issubclass(one, ClientError)}
SETS = {name: one for name, one in SERVER.items() if issubclass(one, SetError)}
VALUES = {"IoTError": IoTError, "EncodeError": iotio.EncodeError}


@pytest.mark.parametrize(
    ("heading", "errors"),
    [
        ("Calls", CALLS),
        ("Values", VALUES),
        ("Setting endpoints", SETS),
        ("The server program", {name: one for name, one in SERVER.items() if name not in CALLS | VALUES | SETS}),
        ("The device's program", OF_CLIENT),
    ],
)
def test_each_exception_has_its_row(heading: str, errors: dict[str, type[Exception]]) -> None:
    found = rows(heading)
    assert sorted(row[0].strip("`") for row in found) == sorted(errors)
    for row in found:
        kind = errors[row[0].strip("`")]
        also = {base.__name__ for base in kind.__bases__ if base.__name__ in dir(builtins)} - {"Exception"}
        assert set(re.findall(r"`(\w+)`", row[1])) == also, row[0]
        assert all(row[2:-2]), row[0]
        assert row[-1] or row[0] in ("`IoTError`", "`ClientError`", "`SetError`")


def test_a_device_has_no_exception_that_is_not_on_the_page() -> None:
    assert set(CLIENT) == set(CALLS) | set(OF_CLIENT) | {"EncodeError"}
    assert all(CLIENT[name] is CALLS[name] for name in CALLS)


def test_which_errors_are_tried_again() -> None:
    again = {row[0].strip("`") for row in rows("The device's program") if row[3].startswith("yes")}
    assert again == {name for name, one in OF_CLIENT.items() if one.retry}


def test_each_error_of_python_is_one() -> None:
    names = [name for row in rows("Errors of Python") for name in re.findall(r"`(\w+)`", row[0])]
    assert len(names) > 4
    assert all(issubclass(getattr(builtins, name), Exception) for name in names)


def test_each_error_code_has_its_row() -> None:
    found = rows("Error codes")
    assert sorted(row[0].strip("`") for row in found) == sorted(ErrorCode)
    assert all(all(row) for row in found)


def test_each_http_status_has_its_row() -> None:
    found = rows("HTTP statuses")
    assert all(len(row) == 3 and all(row) for row in found)
    statuses = {row[0] for row in found}
    assert statuses == {"3xx", "501", "503"} | {str(status) for status in client_errors._STATUS_HINTS}


def test_each_close_code_has_its_row() -> None:
    found = {row[1].strip("`"): row[0] for row in rows("CLOSE codes")}
    expected = {
        reason.value: str(session._CLOSE_CODES.get(reason, session.POLICY))
        for reason in set(DisconnectReason) - NEVER_A_CLOSE
    }
    broken = ", ".join(map(str, (frames.PROTOCOL_ERROR, frames.BAD_TEXT, frames.TOO_BIG)))
    assert found == expected | {DisconnectReason.PROTOCOL_ERROR.value: broken}

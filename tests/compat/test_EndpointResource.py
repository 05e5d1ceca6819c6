"""`iotio.EndpointResource` names the view of the REST API."""

from __future__ import annotations

from importlib import import_module

from iotio.http.rest import EndpointResource


def test_name() -> None:
    assert import_module("iotio.EndpointResource").EndpointResource is EndpointResource

"""Addresses and TLS."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme

from iotio_client.target import Target, context_from_sslopt

CONTEXT = ssl.create_default_context()


@pytest.mark.parametrize(
    ("domain", "arguments", "uri"),
    [
        ("localhost:5000", {}, "ws://localhost:5000/iot.io"),
        ("example.com", {}, "ws://example.com/iot.io"),
        ("example.com/", {}, "ws://example.com/iot.io"),
        ("example.com/base", {}, "ws://example.com/base/iot.io"),
        ("[::1]:5000", {}, "ws://[::1]:5000/iot.io"),
        ("::1", {}, "ws://[::1]/iot.io"),
        ("wss://2001:db8::5/base", {}, "wss://[2001:db8::5]/base/iot.io"),
        ("fe80::1%eth0", {}, "ws://[fe80::1%eth0]/iot.io"),
        ("ws://h:1", {}, "ws://h:1/iot.io"),
        ("http://h:1/", {}, "ws://h:1/iot.io"),
        ("wss://h:1", {}, "wss://h:1/iot.io"),
        ("HTTPS://h", {}, "wss://h/iot.io"),
        ("h", {"use_tls": False}, "ws://h/iot.io"),
        ("h", {"use_tls": True}, "wss://h/iot.io"),
        ("h", {"sslopt": {}}, "wss://h/iot.io"),
        ("h", {"sslopt": {}, "use_tls": False}, "wss://h/iot.io"),  # as 0.4.12
        ("h", {"ssl_context": CONTEXT}, "wss://h/iot.io"),
        ("wss://h", {"ssl_context": CONTEXT, "use_tls": True}, "wss://h/iot.io"),
    ],
)
def test_addresses(domain: str, arguments: dict[str, Any], uri: str) -> None:
    target = Target.parse(domain, **arguments)
    assert target.uri == uri
    assert (target.context is not None) == uri.startswith("wss")


@pytest.mark.parametrize(
    ("domain", "arguments"),
    [
        ("", {}),
        ("ws://", {}),
        ("ftp://h", {}),
        ("h:0", {}),
        ("h:99999", {}),
        ("h:port", {}),
        ("a b", {}),
        ("h\r\nX: y", {}),
        ("h?x=1", {}),
        (5, {}),
        ("ws://h", {"use_tls": True}),
        ("ws://h", {"sslopt": {}}),
        ("wss://h", {"use_tls": False}),
        ("h", {"sslopt": {}, "ssl_context": CONTEXT}),
        ("h", {"sslopt": {"cert_reqz": 0}}),
    ],
)
def test_refused(domain: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (each has a text of its own)
        Target.parse(domain, **arguments)


def test_password_stays_out_of_the_log() -> None:
    target = Target.parse("wss://me:secret@h:1")
    assert target.where == "h:1"
    assert target.uri == "wss://me:secret@h:1/iot.io"


def test_no_proxy_to_this_machine() -> None:
    for host in ("localhost:1", "127.0.0.1", "[::1]:1", "::1"):
        assert Target.parse(host).proxy is None
    assert Target.parse("h").proxy


def test_default_is_a_checked_certificate() -> None:
    for context in (Target.parse("wss://h").context, context_from_sslopt({})):
        assert context is not None
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_sslopt_without_checks() -> None:
    context = context_from_sslopt({"cert_reqs": ssl.CERT_NONE})
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_NONE
    context = context_from_sslopt({"check_hostname": False})
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_sslopt_with_everything(tmp_path: Any) -> None:
    authority = trustme.CA()
    with (
        authority.cert_pem.tempfile() as ca_file,
        authority.issue_cert("d1").private_key_and_cert_chain_pem.tempfile() as own,
    ):
        context = context_from_sslopt(
            {"ca_certs": ca_file, "certfile": own, "ciphers": "HIGH", "ecdh_curve": "prime256v1"}
        )
        assert len(context.get_ca_certs()) == 1
        target = Target.parse("h", sslopt={"ca_certs": ca_file, "server_hostname": "other"})
        assert target.server_hostname == "other"
    assert context_from_sslopt({"context": CONTEXT}) is CONTEXT

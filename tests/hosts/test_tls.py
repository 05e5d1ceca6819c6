"""Devices over TLS: reads and writes share one TLS object, and the last record may lie in it, not in the socket."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest
import trustme
from websockets.sync.client import connect

from iotio.protocol import v1
from tests.support.processes import START_SECONDS, Program

PROGRAM = Path(__file__).parent / "programs" / "tls_server.py"
HEADERS = {"IoT-IO-Id": "d", "IoT-IO-Type": "echo", "IoT-IO-ProtocolVersion": "1"}


@pytest.mark.parametrize("host", ["gevent", "flask", "native"])
def test_echo(host: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with Program([sys.executable, PROGRAM, host, chain, key]) as server:
        port = server.wait_line("ready", START_SECONDS).split()[1]
        uri = f"wss://localhost:{port}/iot.io"
        with connect(uri, ssl=context, additional_headers=HEADERS, compression=None, max_size=None) as device:
            for size in (0, 5, 70_000, 1_000_000):
                packets = [v1.encode("echo", letter * size) for letter in "abc"]
                for packet in packets:
                    device.send(packet)
                assert [device.recv(timeout=10) for _ in packets] == packets

"""A certificate for this machine by an authority of the tests' own."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


def issue(folder: Path) -> tuple[Path, Path, ssl.SSLContext]:
    """Write a certificate for localhost and its key. Returns both files, and what trusts the authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return chain, key, trust

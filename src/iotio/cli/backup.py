"""`iotio backup`: copy a store while a server uses it."""

from __future__ import annotations

import os

import click

from ..store import backup_store
from .progress import shown_progress

__all__ = ["run_backup"]


def run_backup(url: str, target: str, *, force: bool) -> None:
    """Copy the store at a URL to a file; a terminal sees how far it is.

    Raises:
        Failure: it cannot be copied.
    """
    with shown_progress() as progress:
        backup_store(url, target, force=force, progress=progress)
    click.echo(f"{target}: {os.path.getsize(target)} bytes")

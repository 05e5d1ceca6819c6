"""`iotio backup`: copy a store while a server uses it."""

from __future__ import annotations

import os
import sys

import click

from ..core.storage.contract import StoreError
from ..store import backup_store
from .target import Failure

__all__ = ["run_backup"]


def run_backup(url: str, target: str, *, force: bool) -> None:
    """Copy the store at a URL to a file; a terminal sees how far it is.

    Raises:
        Failure: it cannot be copied.
    """
    shows = sys.stderr.isatty()

    def tell(done: int, total: int) -> None:
        click.echo(f"\r{100 * done // max(total, 1):3} %", err=True, nl=False)

    try:
        backup_store(url, target, force=force, progress=tell if shows else None)
    except StoreError as error:
        raise Failure(str(error)) from error
    finally:
        if shows:
            click.echo("\r", err=True, nl=False)
    click.echo(f"{target}: {os.path.getsize(target)} bytes")

"""`iotio export` and `iotio import`: move what a store holds to a store of another kind."""

from __future__ import annotations

import os

import click

from ..store import export_store, import_store
from .progress import shown_progress

__all__ = ["run_export", "run_import"]


def run_export(url: str, target: str, *, force: bool) -> None:
    """Write what the store at a URL holds to a file; a terminal sees how far it is.

    Raises:
        Failure: it cannot be exported.
    """
    with shown_progress() as progress:
        export_store(url, target, force=force, progress=progress)
    click.echo(f"{target}: {os.path.getsize(target)} bytes")


def run_import(source: str, url: str) -> None:
    """Put what an export holds into the store at a URL; a terminal sees how far it is.

    Raises:
        Failure: it cannot be imported.
    """
    with shown_progress() as progress:
        done = import_store(source, url, progress=progress)
    click.echo(f"{source}: {done} records")

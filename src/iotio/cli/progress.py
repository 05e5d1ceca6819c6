"""How far a copy is, for who waits at a terminal; and what goes wrong, in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from ..core.storage.contract import StoreError
from .target import Failure

__all__ = ["shown_progress"]


@contextmanager
def shown_progress() -> Iterator[Callable[[int, int], None] | None]:
    """Show how far the work of the block is, where a terminal is there to see it.

    Returns:
        What is told how much of how much is done; None without a terminal.

    Raises:
        Failure: the block raised a StoreError.
    """
    shows = sys.stderr.isatty()

    def tell(done: int, total: int) -> None:
        click.echo(f"\r{100 * done // max(total, 1):3} %", err=True, nl=False)

    try:
        yield tell if shows else None
    except StoreError as error:
        raise Failure(str(error)) from error
    finally:
        if shows:
            click.echo("\r", err=True, nl=False)

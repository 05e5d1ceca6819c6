"""Name the line at which a program stands whose import does not return."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from ..core.primitives import Signal, get_ident, start_thread, wait

__all__ = ["watching"]

_PATIENCE = 10.0  # seconds: longer than an import takes on a small board
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OURS = os.path.dirname(os.path.dirname(__file__))


@contextmanager
def watching(place: str, patience: float = _PATIENCE) -> Iterator[None]:
    """Say in one line where the block stands, if it takes too long.

    Args:
        place: what is imported in it, for the line.
        patience: in seconds.
    """
    ended, thread = Signal(), get_ident()

    def watch() -> None:
        if not wait(ended, patience):
            frame = _own(sys._current_frames().get(thread))
            if frame is not None:
                file, number = frame.f_code.co_filename, frame.f_lineno
                code = linecache.getline(file, number).strip()
                click.echo(
                    f"{place} has been importing for {patience:g} s, and is served when that ends:"
                    f" it is at {file}, line {number}: {code}",
                    err=True,
                )

    start_thread(watch)
    try:
        yield
    finally:
        ended.set()


def _own(frame: FrameType | None) -> FrameType | None:
    """Return the innermost call of the user's code, or else the innermost of all."""
    innermost = frame
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((*_LIBRARIES, _OURS, "<frozen")):
            return frame
        frame = frame.f_back
    return innermost

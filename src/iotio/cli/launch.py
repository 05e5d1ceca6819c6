"""`iotio run`: serve a program in this process, or in one that is replaced when a file changes."""

from __future__ import annotations

import os
import sys

from .serve import open_sockets, serve
from .settings import Settings
from .target import Target

__all__ = ["run_target"]


def run_target(settings: Settings, *, reload: bool) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        settings: what to serve, and how.
        reload: replace the server when a .py file changes.

    Raises:
        click.ClickException: it cannot be served.
    """
    here = os.getcwd()
    sys.path[:] = [here, *(entry for entry in sys.path if entry not in ("", here))]
    if not reload:
        serve(settings)
        return
    from .reload import supervise  # multiprocessing takes its time to load

    target = Target.parse(settings.target)
    target.check()
    sys.exit(supervise(settings, open_sockets(settings), [here, str(target.folder)]))

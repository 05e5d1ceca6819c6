"""Find out at import whether a distribution of iot.io is installed beside ours: the same folders belong to both.

Of two that are installed, each file is that of the one that came last, and to uninstall one breaks the other.
"""

from __future__ import annotations

import os
import re

__all__ = ["check_alone"]

_INFO = re.compile(r"(iot[._]io)([._-]client)?-(\d[^-]*)(?:-.*)?\.(?:dist|egg)-info", re.IGNORECASE)


def check_alone(folder: str) -> None:
    """Raise ImportError, in one line with the commands to give, if iot.io or iot.io-client is installed in a folder.

    The names in it are looked at, which takes microseconds; `importlib.metadata` alone takes longer to import than we.

    Args:
        folder: that holds our packages.
    """
    try:
        names = os.listdir(folder)
    except OSError:  # such as that of a zip file
        return
    found = [f"iot.io{'-client' if match[2] else ''} {match[3]}" for match in map(_INFO.fullmatch, names) if match]
    if found:
        raise ImportError(
            f"{' and '.join(sorted(found))} and iotio own the same folders, so only one of them can be installed:"
            " pip uninstall -y iot.io iot.io-client && pip install --force-reinstall --no-deps ./client ."
        )

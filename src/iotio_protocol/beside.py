"""Find out at import whether a distribution of iot.io is installed beside ours: the same folders belong to both.

Of two that are installed, each file is that of the one that came last, and to uninstall one breaks the other.
"""

from __future__ import annotations

import os
import re

__all__ = ["check_alone"]

_INFO = r"(iot[._]io)([._-]client)?-(\d[^-]*)(?:-.*)?\.(?:dist|egg)-info"
_BEGINNINGS = ("iot.io", "iot_io")


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
    names = [name for name in names if name[:6].lower() in _BEGINNINGS]
    infos = [re.fullmatch(_INFO, name, re.IGNORECASE) for name in names]  # compiled for those alone
    found = [f"iot.io{'-client' if info[2] else ''} {info[3]}" for info in infos if info]
    if found:
        raise ImportError(
            f"{' and '.join(sorted(found))} and iotio own the same folders, so only one of them can be installed:"
            " pip uninstall -y iot.io iot.io-client && pip install --force-reinstall --no-deps ./client ."
        )

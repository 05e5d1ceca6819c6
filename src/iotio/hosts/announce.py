"""Say once where devices are served, in the log that is shown where nobody has configured any."""

from __future__ import annotations

from collections.abc import Iterable

from iotio.core.manager import Manager
from iotio_protocol.logs import get_logger, show_lines

from .upgrade import PATH

__all__ = ["announce", "place_of"]

logger = get_logger("iotio.server")


def announce(manager: Manager, places: Iterable[str], server: str = "") -> None:
    """Log where devices are served.

    Args:
        manager: whose devices they are.
        places: the addresses, such as "http://127.0.0.1:5000".
        server: what listens there, where that is not ours.
    """
    show_lines()
    by = f" by {server}" if server else ""
    logger.info(
        "serving on %s%s; devices at the path %s; %s", " and ".join(places), by, PATH, _count(manager.device_types)
    )


def place_of(scheme: str, host: str, port: object) -> str:
    """Return where a server listens, as `announce` takes it; an address of IPv6 in brackets."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _count(types: list[str]) -> str:
    if not types:
        return "no device type yet, manager.add_type() adds one"
    return "1 device type" if len(types) == 1 else f"{len(types)} device types"

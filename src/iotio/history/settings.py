"""How long a history is kept, and how much of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

__all__ = ["History"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_557_600}
_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdwy])")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?B)")
_LEAST_RATE = 4  # of the readings of a second that are too many the smallest, the largest and the last stay


@dataclass(frozen=True, slots=True)
class History:
    """How long the history of endpoints is kept, for `IoTManager(history=)`.

    Args:
        raw: how long readings are kept: "30d", or a number of seconds. Units are s, m, h, d, w and y.
        hours: how long statistics of them are kept, by quarters of an hour.
        max_size: bytes that the store may have: "2GB". Beyond, the oldest readings are deleted earlier.
        max_rate: readings of one endpoint that are kept of each second of their own time; of more than these the
            smallest, the largest and the last of the rest.
        url: a store for the history alone, such as "sqlite:///history.db"; None: that of the devices.

    Raises:
        ValueError: a time or a size cannot be read, or is too small.
    """

    raw: str | float = "30d"
    hours: str | float = "10y"
    max_size: str | int = "2GB"
    max_rate: int = 10
    url: str | None = None

    def __post_init__(self) -> None:
        if self.raw_seconds < 3600:
            raise ValueError(f"History(raw=) is at least 1h, not {self.raw!r}")
        if self.hours_seconds < self.raw_seconds:
            raise ValueError(f"History(hours=) is at least as long as raw={self.raw!r}, not {self.hours!r}")
        if self.max_bytes < 10**6:
            raise ValueError(f"History(max_size=) is at least 1MB, not {self.max_size!r}")
        if type(self.max_rate) is not int or self.max_rate < _LEAST_RATE:
            raise ValueError(f"History(max_rate=) is a whole number from {_LEAST_RATE} on, not {self.max_rate!r}")

    @property
    def raw_seconds(self) -> float:
        """Seconds that readings are kept."""
        return _read(self.raw, "raw", "30d", _TIME, _SECONDS)

    @property
    def hours_seconds(self) -> float:
        """Seconds that statistics are kept."""
        return _read(self.hours, "hours", "10y", _TIME, _SECONDS)

    @property
    def max_bytes(self) -> int:
        """Bytes that the store may have."""
        return round(_read(self.max_size, "max_size", "2GB", _SIZE, _BYTES))


def _read(value: object, name: str, example: str, form: re.Pattern[str], units: dict[str, int]) -> float:
    """Return a number with a unit as a number."""
    if isinstance(value, str) and (found := form.fullmatch(value.strip())):
        return float(found[1]) * units[found[2]]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return value
    words = ", ".join(filter(None, units))
    raise ValueError(f"History({name}=) is such as {example!r}, with one of the units {words}, not {value!r}")

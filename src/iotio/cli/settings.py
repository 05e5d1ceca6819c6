"""The options of `iotio run`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `iotio run`; they travel to the process that serves."""

    target: str
    host: str | None  # None where the command line does not say
    port: int | None
    uds: str | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    threads: int
    view_threads: int | None
    slow_handler: float
    request_context: bool
    log_level: str
    log_format: str = "text"
    log_config: str | None = None
    access_log: bool = True

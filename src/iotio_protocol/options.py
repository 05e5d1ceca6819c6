"""Limits and timings of a device connection."""

from __future__ import annotations

import ipaddress
from _thread import TIMEOUT_MAX
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["DEFAULT_OPTIONS", "MAX_SECONDS", "Options", "check_wait", "chosen"]

SlowReader = Literal["disconnect", "drop_oldest", "drop_newest"]

MAX_SECONDS = min(1_000_000_000.0, TIMEOUT_MAX)
"""The longest wait: 31 years, or what the operating system can wait."""

_SECONDS = (
    "handshake_timeout",
    "refusal_delay",
    "ping_interval",
    "ping_timeout",
    "close_timeout",
    "takeover_timeout",
    "grace",
)
_NOT_NEGATIVE = (
    "refusal_delay",
    "ping_interval",
    "takeover_timeout",
    "grace",
    "max_connections",
    "max_connections_per_address",
    "max_handshakes_per_second",
    "max_messages_per_second",
    "max_bytes_per_second",
)


class _Default(float):
    """Seconds that no program has chosen. A class, so that a program which asks for just as much is told apart."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a device may do, and how long the server waits for it.

    All sizes are in bytes, all times in seconds. Limits are checked before memory is taken.

    Attributes:
        max_payload: largest value of one packet.
        max_event: longest event name, in UTF-8.
        max_introduction: all that a device says of itself when it connects: HELLO, the `IoT-IO-*` headers, or the
            handshake of v0.
        max_data: of it, its data as JSON.
        max_id: its id, and its type, in UTF-8.
        max_room: longest name of a room, in UTF-8.
        handshake_timeout: what a v0 device gets for its first frame (iot.io 0.x: 30 s).
        refusal_delay: how long a refused device is held before the CLOSE frame. The 0.4.1 device
            library reconnects at once after a CLOSE; without the delay it would storm the server.
            Devices that fight over one id are held as long.
        ping_interval: silence of the other side after which a ping is sent; 0 turns pings off. A client that is not
            given one takes what the server says of its own, and these 20 seconds where it says nothing, or 0.
        ping_timeout: how long after a ping anything at all must have come. As above in a client.
        close_timeout: how long the peer gets to answer a CLOSE frame.
        max_outbox: bytes that may wait for a device which reads too slowly.
        max_outbox_messages: the same in messages.
        slow_reader: what happens to a device when more would wait: "disconnect" closes its connection,
            "drop_oldest" drops what has waited longest, "drop_newest" what is to be sent now.
        max_connections: devices at a time; 0 for as many as the system can hold.
        max_connections_per_address: the same for one IP address; mind that a proxy is one.
        max_handshakes_per_second: new devices, over all addresses; 0 for no limit.
        max_pending: sockets at a time that have not said who they are yet, beside the devices. One that has not for
            five seconds makes room for a newcomer; otherwise newcomers wait, or are told to come again.
        max_messages_per_second: what one device may send, averaged over ten seconds; 0 for no limit.
        max_bytes_per_second: the same in bytes on the wire.
        allowed_origins: web pages of other hosts that may connect from a browser, such as "https://example.org";
            "*" for all. Pages of the server's own host may always.
        allowed_hosts: names by which browsers may know the server, such as `hub.example.com` or `*.example.com`; `*`
            for all. Addresses, names without a dot, the machine's own name, `*.local`, `*.home.arpa` and `*.internal`
            may always.
        trusted_proxies: IP addresses and networks of proxies, such as "10.0.0.7" or "10.0.0.0/8", and "unix" for those
            that come over a Unix socket: what they say of the client's address, scheme and host is believed.
        takeover_timeout: how long a new connection waits for a handler of the old one to end.
        grace: how long a device may be away before its presence changes; 0 for no time at all.
        max_queued: durable messages that may wait for one device.
        max_queued_bytes: the same in bytes of their values.
        max_devices: devices that the server remembers, connected or away; beyond, one that is away is forgotten.
        max_devices_bytes: the same in bytes of what they say of themselves: ids, types, data, endpoints, and the
            rooms that they are in. Endpoints that several declare alike count once.
    """

    max_payload: int = 1024 * 1024
    max_event: int = 256
    max_introduction: int = 64 * 1024
    max_data: int = 16 * 1024
    max_id: int = 256
    max_room: int = 256
    handshake_timeout: float = 30.0
    refusal_delay: float = 3.0
    ping_interval: float = _Default(20.0)
    ping_timeout: float = _Default(10.0)
    close_timeout: float = 3.0
    max_outbox: int = 8 * 1024 * 1024
    max_outbox_messages: int = 100_000
    slow_reader: SlowReader = "disconnect"
    takeover_timeout: float = 10.0
    grace: float = 15.0
    max_devices: int = 100_000
    max_devices_bytes: int = 64 * 1024 * 1024
    max_queued: int = 1000
    max_queued_bytes: int = 8 * 1024 * 1024
    max_connections: int = 0
    max_connections_per_address: int = 0
    max_handshakes_per_second: float = 0.0
    max_pending: int = 1024
    max_messages_per_second: float = 0.0
    max_bytes_per_second: float = 0.0
    allowed_origins: Collection[str] = ()
    allowed_hosts: Collection[str] = ()
    trusted_proxies: Collection[str] = ()

    def __post_init__(self) -> None:
        for name in (
            "max_payload",
            "max_event",
            "max_introduction",
            "max_data",
            "max_id",
            "max_room",
            "max_outbox",
            "max_outbox_messages",
            "max_devices",
            "max_pending",
            "max_devices_bytes",
            "max_queued",
            "max_queued_bytes",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"Options.{name} must be at least 1")
        for name in ("handshake_timeout", "ping_timeout", "close_timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Options.{name} must be more than 0 seconds")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"Options.{name} must not be negative")
        for name in _SECONDS:
            if not getattr(self, name) <= MAX_SECONDS:
                raise ValueError(f"Options.{name} must be at most {MAX_SECONDS:.0f} seconds")
        if self.slow_reader not in get_args(SlowReader):
            raise ValueError(f"Options.slow_reader must be one of {', '.join(get_args(SlowReader))}")
        lists = (("allowed_origins", "origins"), ("allowed_hosts", "names"), ("trusted_proxies", "addresses"))
        for name, members in lists:
            if isinstance(getattr(self, name), str):  # its letters would be taken for them
                raise ValueError(f"Options.{name} must be a list of {members}")
        for proxy in self.trusted_proxies:
            if proxy != "unix":
                try:
                    ipaddress.ip_network(proxy, strict=False)
                except ValueError as error:
                    raise ValueError(f"Options.trusted_proxies: {error}") from None

    @property
    def max_message(self) -> int:
        """Largest WebSocket message in bytes: both parts full, and what v0 (12 bytes) or v1 (7) put around them."""
        return 12 + self.max_event + self.max_payload


def chosen(seconds: float) -> float | None:
    """Return `ping_interval` or `ping_timeout` of options if a program has chosen it, None if it is the default."""
    return None if isinstance(seconds, _Default) else seconds


def check_wait(timeout: float | None) -> float | None:
    """Return the seconds of a wait that may be without an end, or over. Raises ValueError if they are too many."""
    if timeout is not None and not timeout <= MAX_SECONDS:
        raise ValueError(f"timeout must be at most {MAX_SECONDS:.0f} seconds, or None, not {timeout!r}")
    return timeout


DEFAULT_OPTIONS = Options()

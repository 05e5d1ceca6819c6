"""One emit: what is sent, and to whom. Both are made and checked once, by the public method that is called."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Outgoing", "Target", "check_event", "check_only_target", "options_of"]


class Target(NamedTuple):
    """The devices that an emit is addressed to: every device, if there is neither of the first three.

    Attributes:
        client_ids: these devices, each once; `type` and `room` are then ignored, as in iot.io 0.4.
        type: every device of this type; together with `room`, only those in the room.
        room: every device in this room.
        skip: ids to leave out.
    """

    client_ids: tuple[str, ...] | None = None
    type: str | None = None
    room: str | None = None
    skip: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, client_ids: tuple[str, ...] | None, client_type: str | None, room: str | None, skip: frozenset[str]
    ) -> Target:
        """Make a target of what a program names. Raises ValueError if it names nobody, which is not everybody."""
        if client_ids is None and client_type is None and room is None:
            raise ValueError(
                "'client_id', 'client_type', or 'room' must be provided, or 'to'; broadcast=True is for every device"
            )
        return cls(client_ids, client_type, room, skip)

    @property
    def ids(self) -> list[str]:
        """The ids that are addressed, less those to leave out."""
        return [one for one in self.client_ids or () if one not in self.skip]


class Outgoing(NamedTuple):
    """An event on its way out, with the options of its emit.

    Attributes:
        event: the event's name.
        value: what it carries.
        durable: whether it is kept for each device until it has it.
        ttl: seconds after which it is of no use any more, or None; durable only.
        coalesce: takes the place of an earlier message with this word that was not sent, or None; durable only.
        trigger_update: whether `on_update` hears of it.
    """

    event: str
    value: Any
    durable: bool = False
    ttl: float | None = None
    coalesce: str | None = None
    trigger_update: bool = True

    @classmethod
    def of(
        cls,
        event: str,
        value: Any,
        *,
        durable: bool = False,
        ttl: float | None = None,
        coalesce: str | None = None,
        trigger_update: bool = True,
    ) -> Outgoing:
        """Check what a program wants to emit.

        Raises:
            TypeError: `event` or `coalesce` is not a str.
            ValueError: `event` is empty; `ttl` or `coalesce` without `durable`, or a `ttl` that is not above 0.
        """
        check_event(event)
        if durable or ttl is not None or coalesce is not None:
            if not durable:
                raise ValueError("'ttl' and 'coalesce' are of use with durable=True only")
            if coalesce is not None and not isinstance(coalesce, str):
                raise TypeError("'coalesce' must be of type str")
            if ttl is not None and not 0 < ttl < float("inf"):
                raise ValueError(f"'ttl' must be seconds above 0, not {ttl!r}")
        return cls(event, value, durable, ttl, coalesce, trigger_update)


def options_of(outgoing: Outgoing) -> dict[str, Any]:
    """Return the options of an emit, as `Manager.emit` takes them."""
    options = outgoing._asdict()
    del options["event"], options["value"]
    return options


def check_event(event: object) -> None:
    """Raise TypeError or ValueError if a value cannot be an event's name."""
    if not isinstance(event, str):
        raise TypeError("'event' must be of type str")
    if not event:
        raise ValueError("'event' must not be empty: it is the name of the handler that the device has for it")


def check_only_target(to: object, *, broadcast: bool, **others: object) -> None:
    """Raise TypeError if there is another target beside `to` or `broadcast`.

    Args:
        to: as of `Manager.emit`.
        broadcast: the same.
        others: the other targets, by the names of their arguments.
    """
    named = [name for name, value in others.items() if value is not None]
    if broadcast and to is not None:
        named = ["to", *named]
    if named:
        words = "broadcast=True is for every device" if broadcast else "'to' says which devices get the event"
        raise TypeError(f"{words}: leave out {' and '.join(repr(name) for name in named)}")

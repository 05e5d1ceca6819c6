"""Names that were probably meant, for lines of the log and for errors: most of what is not found is misspelt."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

__all__ = ["missing_handler", "near_name"]

_IN_METHODS = re.compile(r"\w+")
_LONGEST = 64  # characters of a name that a peer has chosen: comparing takes time


def near_name(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is most like another one; None if none is much like it."""
    import difflib  # a program whose names are right does without it

    by_fold = {other.casefold(): other for other in names}
    found = difflib.get_close_matches(name[:_LONGEST].casefold(), by_fold, n=1)
    return by_fold[found[0]] if found else None


def missing_handler(event: str, names: Iterable[str], reserved: Collection[str], otherwise: str) -> str:
    """Say what to do about an event that no handler takes.

    Args:
        event: its name.
        names: the events that have a handler.
        reserved: names for which on_<name> means something else.
        otherwise: what to say of an event whose handler cannot be a method on_<event>.
    """
    if event in reserved:
        return otherwise
    near = near_name(event, names)
    if near is not None:
        return f"on_{near} exists; did you mean on_{event}?"
    return f"on_{event} would take it" if _IN_METHODS.fullmatch(event) else otherwise

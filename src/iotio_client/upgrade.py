"""Which of protocol v1's headers an upgrade request carries, so that proxies on the way take it.

A device that speaks v2 says who it is in HELLO, and in the headers for servers that know v1 only. A proxy takes a
header line of 8 KiB (nginx), or 15 KiB in all (HAProxy), and answers 400 or 431 otherwise.
"""

from __future__ import annotations

__all__ = ["MAX_HEADER", "HeaderChoice", "Headers"]

MAX_HEADER = 7 * 1024
"""Bytes of a header that is said twice: a little less than nginx takes, which counts the name, too."""

_LARGE = frozenset({"IoT-IO-Data", "IoT-IO-Endpoints"})
_TOO_LARGE = frozenset({400, 431})  # proxies say the first, RFC 6585 the second

Headers = list[tuple[str, str]]


class HeaderChoice:
    """Choose the headers of one attempt to connect, which may take several requests: none is sent twice.

    Args:
        headers: all of v1's; none where v1 is not wanted.
        twice: whether HELLO says the same, should the server speak v2.
        lean: whether the attempt before this one ended with the short headers; None: there was none.

    Attributes:
        headers: to be sent now.
        is_lean: whether they are the short ones, without data and endpoints.
    """

    def __init__(self, headers: Headers, *, twice: bool, lean: bool | None = None) -> None:
        self._whole = headers
        self._short = [(name, value) for name, value in headers if name not in _LARGE]
        self._left = {True, False} if twice and headers else {False}
        if lean is None:
            lean = any(len(value.encode()) > MAX_HEADER for name, value in headers if name in _LARGE)
        self.is_lean = False
        self.headers = headers
        self._take(lean)

    def refused(self, status: int) -> bool:
        """Choose what is left after a status in place of the upgrade. Returns False if there is nothing to try."""
        return status in _TOO_LARGE and self._take(True)

    def agreed_on_none(self) -> bool:
        """Choose what is left after an answer without a subprotocol: the server wants all of v1's headers.

        Returns:
            Whether to connect once more; False: the server has all, or it cannot have it, see `is_lean`.
        """
        return self.is_lean and self._take(False)

    def _take(self, lean: bool) -> bool:
        if lean not in self._left:
            return False
        self._left.discard(lean)
        self.is_lean = lean
        self.headers = self._short if lean else self._whole
        return True

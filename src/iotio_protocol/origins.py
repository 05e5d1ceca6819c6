"""Tell the requests of strangers' web pages from all others. docs/security.md has the reasons.

A browser says for which page it asks (`Origin`, RFC 6454 and RFC 6455, 10.2), and no page can make it say something
else. Programs and devices say what they like there, and need no check: they could leave it out.
"""

from __future__ import annotations

import ipaddress
import platform
import re
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from .options import Options

__all__ = ["Foreign", "foreign", "is_by_browser", "name_of"]

_SIGNS = frozenset(("cookie", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user"))
_TELLING = _SIGNS | {"origin", "user-agent"}
_ORIGIN = re.compile(r"https?://([^/?#@]+)")  # of a page: with credentials or a path it is a library's own text
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_MACHINE = platform.node().lower()
_LOCAL_ENDS = (".local", ".localhost", ".home.arpa", ".internal")
"""RFC 6762, 6761, 8375, and ICANN's decision of 2024: nobody can have such a name in the public DNS."""


class Foreign(NamedTuple):
    """Why a request is refused.

    Attributes:
        option: the one of `Options` that would let it in: `allowed_origins` or `allowed_hosts`.
        value: what to put there.
    """

    option: Literal["allowed_origins", "allowed_hosts"]
    value: str

    @property
    def info(self) -> dict[str, object]:
        """What is told to whoever asks."""
        return {"origin" if self.option == "allowed_origins" else "host": self.value[:80]}

    @property
    def advice(self) -> str:
        """What to change, as a sentence."""
        argument = f"Options({self.option}=[{self.value[:80]!r}])"
        if self.option == "allowed_origins":
            return f"To let pages from there connect: {argument}"
        return f"If this server has that name: {argument}"


def foreign(headers: Collection[tuple[str, str]], options: Options, *, by_program: bool = False) -> Foreign | None:
    """Return why a request is refused, if it is that of a web page of another host, or of one that poses as ours.

    With signs of a browser each origin but the server's own and the allowed ones is foreign; so is a `Host` by which
    nobody knows this server: a page may have its own name lead to our address (DNS rebinding), and is then of "the same
    host". Without these signs an origin counts only if it has the form of a page's and names another public host.

    Args:
        headers: names in any case.
        options: `allowed_origins` and `allowed_hosts` apply.
        by_program: the request has what no page can send; it is checked if it has signs of a browser all the same.
    """
    found = {lower: value for name, value in headers if (lower := name.lower()) in _TELLING}
    if not found:
        return None
    by_browser = is_by_browser(found)
    origin = found.get("origin", "").strip()
    if not by_browser and (by_program or not origin):
        return None
    hosts = [value for name, value in headers if name.lower() == "host"]
    host = hosts[-1].strip().lower() if hosts else ""
    allowed = options.allowed_origins
    if "*" in allowed or (origin and origin in allowed):
        return None
    if origin and not _is_own(origin.lower(), host) and (by_browser or _is_page(origin.lower(), host, options)):
        return Foreign("allowed_origins", origin)
    if by_browser and host and not _is_known(name_of(host), options.allowed_hosts):
        return Foreign("allowed_hosts", name_of(host))
    return None


def is_by_browser(headers: Mapping[str, str]) -> bool:
    """Return whether a request shows signs of a browser.

    Args:
        headers: by their names in lower case.
    """
    return not _SIGNS.isdisjoint(headers) or headers.get("user-agent", "").lstrip().startswith("Mozilla/")


def name_of(host: str) -> str:
    """Return the name or the address in a `Host`, without its port; an IPv6 address without brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def _is_own(origin: str, host: str) -> bool:
    """Return whether a page is of this server. Its scheme may be that of a proxy before us."""
    scheme, _, page = origin.partition("://")
    default = _DEFAULT_PORTS.get(scheme, "")
    return bool(host) and page.removesuffix(default) == host.removesuffix(default)


def _is_page(origin: str, host: str, options: Options) -> bool:
    """Return whether an origin that no browser's sign comes with may be that of a foreign page all the same."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return False
    name = name_of(found.group(1))
    return name != name_of(host) and not _is_known(name, options.allowed_hosts)


def _is_known(name: str, allowed: Collection[str]) -> bool:
    """Return whether a name cannot be a stranger's: an address, one of this machine or network, or an allowed one.

    One without a dot is of a network's own list: no top-level domain may have an address (RFC 7085 and ICANN's rule).
    """
    if name == _MACHINE or name.endswith(_LOCAL_ENDS) or (name and "." not in name):
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return any(_matches(name, pattern.lower()) for pattern in allowed)
    return True


def _matches(name: str, pattern: str) -> bool:
    return pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:]))

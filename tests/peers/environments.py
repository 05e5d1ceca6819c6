"""Environments with the programs of the original iot.io, made under .peers/ when they are first wanted.

Standard library only: scripts/test calls `prepare_all` before anything else is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.tools.environments import (
    ROOT,
    Interpreter,
    Say,
    SetupError,
    digest,
    ensure_environment,
    interpreter,
    say,
)

PINS = Path(__file__).with_name("pins")

OLD_TOOLS = ("pip<24", "setuptools<60", "wheel")
"""Newer ones cannot build the packages of that time, or do not run there."""


class PeerUnavailable(Exception):
    """This machine has no Python that the peer runs on; the text is the reason for a skip."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One generation of the original.

    Attributes:
        name: of the environment and of its file in pins/.
        pythons: minor versions that it runs on, the best first.
        old: whether it needs pip and setuptools of its time.
    """

    name: str
    pythons: tuple[tuple[int, int], ...]
    old: bool = True

    @property
    def pins(self) -> Path:
        """The packages, all with their versions."""
        return PINS / f"{self.name}.txt"

    def interpreter(self) -> Interpreter:
        """The Python that it will run on.

        Raises:
            PeerUnavailable: there is none.
        """
        found = interpreter(*self.pythons)
        if found is None:
            names = " or ".join("{}.{}".format(*minor) for minor in self.pythons)
            raise PeerUnavailable(f"{self.name} needs a Python {names}, and none was found here")
        return found

    def python(self, tell: Say = say) -> Path:
        """The interpreter of its environment, made on the first call.

        Raises:
            PeerUnavailable: this machine has no Python for it.
            SetupError: it could not be installed.
        """
        base = self.interpreter()
        packages = ["--no-deps", "-r", str(self.pins)]
        steps: list[list[str]] = [[*OLD_TOOLS], packages] if self.old else [packages]
        stamp = digest(self.pins, *OLD_TOOLS)
        return ensure_environment(ROOT / ".peers" / self.name, base, *steps, stamp=stamp, tell=tell)


GEN0 = Peer("gen0", ((3, 7), (3, 8)))
GEN0_CLIENT = Peer("gen0_client", ((3, 9),))
GEN1 = Peer("gen1", ((3, 8),))
GEN1_041 = Peer("gen1_041", ((3, 8),))
GEN1_MODERN = Peer("gen1_modern", ((3, 12), (3, 11)), old=False)


def gen0_device() -> Peer:
    """What runs iot.io-client 0.1.0. Python 3.9 has no wheels of the gevent that its server needs."""
    return GEN0 if interpreter(*GEN0.pythons) else GEN0_CLIENT


def prepare_all(tell: Say = say) -> Iterator[str]:
    """Make all environments that this machine has a Python for; yields the reason for each that it has not.

    Raises:
        SetupError: one could not be installed.
    """
    for peer in (gen0_device(), GEN1, GEN1_041, GEN1_MODERN):
        try:
            peer.python(tell)
        except PeerUnavailable as reason:
            yield str(reason)


def main() -> None:
    """Make them all, from the command line."""
    try:
        for reason in prepare_all():
            say(reason)
    except SetupError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()

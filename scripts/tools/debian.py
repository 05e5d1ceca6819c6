"""Get programs of Debian packages without installing them: downloaded by apt-get and unpacked under .tools/.

Nothing of the system changes and no service is started: apt-get keeps its lists and downloads under .tools/ too, which
any user may do. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.tools.environments import ROOT, Say, locked, say

__all__ = ["CADDY", "HAPROXY", "IPTABLES", "NGINX", "WANTED", "Tool", "ToolUnavailable", "find", "prepare", "tool"]

MADE = ROOT / ".tools"
"""What this makes. May be deleted at any time."""

APT_SECONDS = 300
"""For the lists of packages, and again for the packages themselves."""

FOLDERS = ("usr/sbin", "usr/bin", "sbin", "bin")
SYSTEM = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))
"""Behind the PATH: that of a user has no sbin."""

IPTABLES = ("iptables", "iptables", "iptables-nft")
"""The arguments of `tool` for iptables."""

NGINX = ("nginx-light", "nginx")
HAPROXY = ("haproxy",)
CADDY = ("caddy",)

WANTED = (IPTABLES, NGINX, HAPROXY, CADDY)
"""The same for each program that tests use; `prepare` gets them."""


class ToolUnavailable(Exception):
    """The program is not here and cannot be had; the text is the reason to skip what needs it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that can be started.

    Attributes:
        path: the program.
        environment: variables that it needs beside those of this process; none where it is installed.
    """

    path: Path
    environment: dict[str, str] = field(default_factory=dict)


def tool(package: str, *names: str, made: Path = MADE, tell: Say = say) -> Tool:
    """Find a program on the PATH, or get its package and those packages that it needs and this machine lacks.

    Args:
        package: the Debian package.
        names: of the program, the first that exists counts; none: that of the package. Debian names iptables, for one,
            only while it installs it, and the file in the package is iptables-nft.
        made: where the packages are unpacked.
        tell: gets the lines of progress.

    Raises:
        ToolUnavailable: this is no Debian, it is offline, or there is no such package or program.
    """
    names = names or (package,)
    path = os.environ.get("PATH", "") + os.pathsep + SYSTEM
    for name in names:
        if installed := shutil.which(name, path=path):
            return Tool(Path(installed))
    return find(_unpacked(package, made, tell), names)


def find(root: Path, names: Sequence[str]) -> Tool:
    """Find a program in an unpacked package.

    Raises:
        ToolUnavailable: there is none of these names.
    """
    for name in names:
        for folder in FOLDERS:
            if (root / folder / name).exists():
                return Tool(root / folder / name, _environment(root))
    raise ToolUnavailable(f"the Debian package {root.name} has no program {' or '.join(names)}")


def _environment(root: Path) -> dict[str, str]:
    libraries = sorted({str(file.parent) for place in ("lib", "usr/lib") for file in (root / place).rglob("*.so*")})
    before = {"LD_LIBRARY_PATH": libraries, "PATH": [str(root / folder) for folder in FOLDERS]}
    found = {
        name: os.pathsep.join([*folders, *filter(None, [os.environ.get(name)])]) for name, folders in before.items()
    }
    for plugins in (root / "usr" / "lib").glob("*/xtables"):
        found["XTABLES_LIBDIR"] = str(plugins)  # iptables looks for its plugins in /usr otherwise
    return found


def _unpacked(package: str, made: Path, tell: Say) -> Path:
    folder = made / package
    if folder.exists():
        return folder
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise ToolUnavailable(f"{package} is not installed, and without {program} its package cannot be had")
    with locked(folder), tempfile.TemporaryDirectory(dir=made) as place:
        if folder.exists():  # another process has just made it
            return folder
        tell(f"downloading the Debian package {package} into .tools (not installed)")
        packages = _download(package, Path(place))
        root = Path(place) / "root"
        for file in packages:
            _run(["dpkg-deb", "-x", str(file), str(root)], package)
        root.rename(folder)
    return folder


def _download(package: str, place: Path) -> list[Path]:
    """Name the package and those it needs beside the installed ones."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (place / name).mkdir(parents=True)
    options = {
        "Dir::State": place / "state",
        "Dir::State::status": "/var/lib/dpkg/status",  # what is installed here
        "Dir::Cache": place / "cache",
        "Debug::NoLocking": "1",  # the locks are the system's; the folders are ours alone
        "APT::Sandbox::User": "",  # the user _apt may not write into them
        "Acquire::Retries": "1",
    }
    apt = ["apt-get", "-qq", "-y", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    _run([*apt, "update"], package)
    _run([*apt, "install", "--no-install-recommends", "--download-only", package], package)
    return sorted((place / "cache" / "archives").glob("*.deb"))


def _run(command: list[str], package: str) -> None:
    problem = f"{package} is not installed, and {command[0]} could not get its package"
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=APT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ToolUnavailable(f"{problem} within {APT_SECONDS} s") from None
    if done.returncode:
        raise ToolUnavailable(f"{problem}: {' '.join((done.stdout + done.stderr).split())[-300:]}")


def prepare() -> list[str]:
    """Get every program that tests use; the reasons for those that cannot be had."""
    reasons = []
    for wanted in WANTED:
        try:
            tool(*wanted)
        except ToolUnavailable as reason:
            reasons.append(str(reason))
    return reasons

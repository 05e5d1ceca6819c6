"""docs/how-to/container.md: hadolint takes the Dockerfile, and its steps, replayed without Docker, make a server.

The replay has a root folder of its own in a mount namespace, with this machine's programs and its own /etc, /opt and
/var. The server runs in a PID namespace, as the first process and as the user of the image. What pip does is tested by
tests/scripts/test_distributions.py: here the packages are in place already.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import iotio_client
from scripts.tools.environments import ROOT
from scripts.tools.readme import blocks
from tests.support.processes import START_SECONDS, Program, free_port, wait_until_listening

PAGE = ROOT / "docs" / "how-to" / "container.md"
(DOCKERFILE,) = [block.code for block in blocks(PAGE) if block.language == "dockerfile"]
(COMPOSE,) = [block.code for block in blocks(PAGE) if block.language == "yaml"]
STEPS = [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in DOCKERFILE.splitlines() if line]

SERVER = """
from iotio import DeviceType, IoTManager

class Lamp(DeviceType):
    def on_hello(self, message, client):
        print("said", message)
        return client.manager.emit("target", 21, to="sleeper", durable=True).sent

manager = IoTManager(store="sqlite:////var/lib/iotio/iotio.db")
manager.add_type(Lamp("lamp"))
"""
PROGRAMS = ("unshare", "nsenter", "chroot", "setpriv", "useradd")
OF_THE_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64")
OF_ETC = ("hosts", "ld.so.cache", "login.defs", "nsswitch.conf")
ACCOUNTS = {
    "passwd": "root:x:0:0::/:/bin/sh\n",
    "shadow": "root:*:::::::\n",
    "group": "root:x:0:\n",
    "gshadow": "root:*::\n",
}
MADE = ("dev", "etc", "mnt", "opt", "packages", "proc", "src", "tmp", "var/lib")
MOUNTS = """
set -e
mount --bind /dev "$1/dev"
mount --bind "$2" "$1/packages"
for folder in usr bin sbin lib lib32 lib64; do
    if [ -d "$1/$folder" ] && [ ! -L "$1/$folder" ]; then mount --rbind "/$folder" "$1/$folder"; fi
done
if [ -d "$1/$3" ]; then mount --bind "$3" "$1/$3"; fi
echo mounted
exec cat
"""
"""Arguments: the root folder, the packages that the server needs, and where this Python is. Ends with its input."""


def values(instruction: str) -> list[str]:
    """What follows an instruction, in the order of the file."""
    return [value for name, value in STEPS if name == instruction]


def test_hadolint_takes_the_dockerfile(tmp_path: Path) -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if hadolint is None:
        pytest.skip("there is no hadolint for this machine")
    file = tmp_path / "Dockerfile"
    file.write_text(DOCKERFILE, encoding="utf-8")
    done = subprocess.run(
        [hadolint, "--no-color", "--failure-threshold", "style", file], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


def test_it_fits_together() -> None:
    """What is checked by nothing else: the port, the user, the volume, the two stages."""
    (user,), (volume,) = values("USER"), values("VOLUME")
    (useradd,) = [value for value in values("RUN") if value.startswith("useradd")]
    assert f"--uid {user} --home-dir {volume} " in useradd
    assert values("EXPOSE") == ["5000"]
    assert re.search(r"'localhost', 5000\b", values("HEALTHCHECK")[0])
    assert json.loads(values("CMD")[0]) == ["iotio", "run", "server.py"]
    stages = values("FROM")
    assert stages[1] == stages[0].removesuffix(" AS build") + "-slim"
    assert volume in COMPOSE
    assert re.search(r'"5000:5000"', COMPOSE)


class Container:
    """The steps of the Dockerfile in a root folder of their own; the files are those of this machine."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        for name in MADE:
            (self.root / name).mkdir(parents=True)
        for name in OF_THE_SYSTEM:
            place = Path("/", name)
            if place.is_symlink():
                (self.root / name).symlink_to(os.readlink(place))
            elif place.is_dir():
                (self.root / name).mkdir()
        for name in OF_ETC:
            if Path("/etc", name).exists():
                shutil.copy(Path("/etc", name), self.root / "etc")
        for name, line in ACCOUNTS.items():
            (self.root / "etc" / name).write_text(line, encoding="utf-8")
        python = Path(sys.executable).resolve()
        if not python.is_relative_to("/usr"):
            (self.root / sys.base_prefix[1:]).mkdir(parents=True)
        (self.root / "opt" / "bin").mkdir()
        (self.root / "opt" / "bin" / "python").symlink_to(python)
        self.variables = {"PATH": "/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.folder = "/"
        packages = Path(click.__file__).parents[1]  # all that the server needs is beside it
        self._mounts = Program(["unshare", "--mount", "sh", "-c", MOUNTS, "sh", self.root, packages, sys.base_prefix])
        self._mounts.wait_line("mounted")

    def close(self) -> None:
        """Let the mounts go: they end with their last process."""
        self._mounts.kill()

    def command(self, *words: str | Path, user: str = "") -> list[str | Path]:
        """The command that runs another one inside; a user has no rights, as Compose starts the container."""
        rights = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--pdeathsig", "KILL"] if user else []
        rights += ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"] if user else []
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        inside = [*rights, "env", "-i", "-C", self.folder, *variables, *words]
        into = ["nsenter", f"--mount=/proc/{self._mounts.process.pid}/ns/mnt"]
        alone = ["unshare", "--fork", "--pid", "--kill-child", f"--mount-proc={self.root / 'proc'}"]
        return [*into, *alone, "chroot", self.root, *inside]

    def build(self, context: Path) -> None:
        """Do each step, with the files of the folder `context`."""
        for instruction, value in STEPS:
            if instruction == "RUN" and "/pip install" in value:
                self.install(*value.split())
            elif instruction == "RUN":
                shell = self.command("/bin/sh", "-c", value.replace("-m venv", "-m venv --without-pip"))
                done = subprocess.run(shell, capture_output=True, text=True, timeout=60)
                assert done.returncode == 0, f"{value}\n{done.stdout}{done.stderr}"
            elif instruction == "COPY":
                self.copy(context, *value.split())
            elif instruction == "WORKDIR":
                (self.root / value[1:]).mkdir(parents=True, exist_ok=True)
                self.folder = value
            elif instruction == "ENV":
                for name, text in (word.split("=", 1) for word in value.split()):
                    self.variables[name] = text.replace("$PATH", self.variables["PATH"])

    def install(self, pip: str, *words: str) -> None:
        """Put in place what pip would: dependencies are in /packages, and there is no index to get build tools from."""
        assert words[:2] == ("install", "--no-cache-dir")
        assert all((self.root / folder[1:] / "pyproject.toml").is_file() for folder in words[2:])
        programs = (self.root / pip[1:]).parent
        (packages,) = programs.parent.glob("lib/python*/site-packages")
        (packages / "installed.pth").write_text("/src/src\n/packages\n", encoding="utf-8")
        script = f"#!/{programs.relative_to(self.root)}/python\nfrom iotio.cli import main\nmain()\n"
        (programs / "iotio").write_text(script, encoding="utf-8")
        (programs / "iotio").chmod(0o755)

    def copy(self, context: Path, *words: str) -> None:
        """What COPY does; both stages are in one root, so a copy between them has nothing to do."""
        if words[0] == "--from=build":
            assert words[1] == words[2]
            return
        source, target = context / words[0], self.root / os.path.join(self.folder, words[1])[1:]
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)

    @contextlib.contextmanager
    def run(self, port: int) -> Iterator[tuple[Program, int]]:
        """Start what CMD says, as USER: the program, and the number outside of the process that is 1 inside."""
        (user,) = values("USER")
        (cmd,) = values("CMD")
        variables = [f"IOTIO_PORT={port}", "IOTIO_HOST=127.0.0.1"]
        with Program(self.command("env", *variables, *json.loads(cmd), user=user)) as program:
            wait_until_listening(port, program, START_SECONDS)
            number = program.process.pid
            (child,) = Path(f"/proc/{number}/task/{number}/children").read_text().split()
            assert f"NSpid:\t{child}\t1\n" in Path(f"/proc/{child}/status").read_text()
            assert os.stat(f"/proc/{child}").st_uid == int(user)
            yield program, int(child)


@pytest.fixture(scope="module")
def programs_of_root() -> Iterator[None]:
    """Find what root has, also for a root whose PATH is that of a user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))
        yield


@pytest.fixture(scope="module")
def container(programs_of_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    if os.name != "posix" or os.geteuid() != 0 or any(shutil.which(name) is None for name in PROGRAMS):
        pytest.skip("only root of a Linux may have a root folder and namespaces of its own")
    try:
        subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=True, capture_output=True, timeout=10)
    except subprocess.SubprocessError:
        pytest.skip("no process of this user may have a namespace of its own")
    context = tmp_path_factory.mktemp("context")
    clone = context / "iotio"
    shutil.copytree(ROOT / "client", clone / "client", ignore=shutil.ignore_patterns("__pycache__", "build", "dist"))
    shutil.copytree(ROOT / "src", clone / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, clone / name)
    (context / "server.py").write_text(SERVER, encoding="utf-8")
    made = Container(tmp_path_factory.mktemp("container"))
    try:
        made.build(context)
        yield made
    finally:
        made.close()


@pytest.mark.slow
def test_its_steps_make_a_server_that_is_the_first_process(container: Container) -> None:
    port = free_port()
    with container.run(port) as (server, first):
        with running("sleeper", port):
            pass
        with running("kitchen", port) as device:
            assert device.call("hello", "hi") == 0, "the sleeper is away"
            server.wait_line("said hi", 5)
            os.kill(first, signal.SIGTERM)  # as docker stop does, from outside
            assert server.wait(10) == 0
    with container.run(port) as (server, first):
        got: list[object] = []
        with running("sleeper", port, got) as sleeper:
            server.wait_line("device 'sleeper' came back after ")
            assert sleeper.call("hello", "again") == 1  # behind the message that has waited
        assert got[0] == 21
        assert health(container, port) == 0
        os.kill(first, signal.SIGTERM)
        assert server.wait(10) == 0
    assert health(container, port) != 0


@contextlib.contextmanager
def running(name: str, port: int, got: list[object] | None = None) -> Iterator[iotio_client.IoTClient]:
    """A lamp that is connected; what comes as "target" goes into the list."""
    device = iotio_client.IoTClient(name, "lamp")

    @device.on("target")
    def on_target(message: object) -> None:
        if got is not None:
            got.append(message)

    with device.start(f"127.0.0.1:{port}"):
        device.wait_connected(10)
        yield device


def health(container: Container, port: int) -> int:
    """The status of the HEALTHCHECK."""
    command = json.loads(values("HEALTHCHECK")[0].removeprefix("CMD "))
    command[-1] = command[-1].replace("5000", str(port))
    return subprocess.run(container.command(*command), capture_output=True, timeout=30).returncode

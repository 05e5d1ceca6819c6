"""The commands of docs/how-to/tls.md make certificates by which a device connects, and no other device does."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import iotio_client
from scripts.tools.environments import ROOT
from scripts.tools.readme import blocks
from tests.support.processes import START_SECONDS, Program

pytestmark = pytest.mark.slow

BLOCKS = blocks(ROOT / "docs" / "how-to" / "tls.md")
COMMANDS = {block.heading: block.code.replace("$ ", "") for block in BLOCKS if block.language == "console"}
(CONNECT,) = [block.code for block in BLOCKS if block.language == "python"]
(REFUSED,) = [block.code for block in BLOCKS if block.language == "text"]
SERVER = """
from iotio import DeviceType, IoTManager

class Lamp(DeviceType):
    def on_hello(self, message, client):
        return "hello " + message

manager = IoTManager()
manager.add_type(Lamp("lamp"))
"""


class Running(NamedTuple):
    folder: Path
    port: int

    def device(self, authority: str) -> tuple[str, dict[str, str]]:
        """The arguments of the page's `run`, for this port and with another file."""
        shown = re.fullmatch(r'client\.run\("wss://hub\.local:5000", sslopt=\{"ca_certs": "ca\.pem"\}\)\n', CONNECT)
        assert shown is not None
        return f"wss://localhost:{self.port}", {"ca_certs": str(self.folder / authority)}


def make_certificates(folder: Path) -> None:
    """Give the commands of the page."""
    for command in COMMANDS["Make the certificates"].splitlines():
        words = shlex.split(command)
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    version = (
        subprocess.run(["openssl", "version"], capture_output=True, text=True) if shutil.which("openssl") else None
    )
    if version is None or not version.stdout.startswith("OpenSSL 3"):
        pytest.skip("there is no OpenSSL 3 here")
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder)
    (folder / "server.py").write_text(SERVER, encoding="utf-8")
    words = shlex.split(COMMANDS["The server"])
    with Program([sys.executable, "-m", *words, "--host", "127.0.0.1", "--port", "0"], folder=folder) as program:
        shown = re.search(r"https://127\.0\.0\.1:(\d+)", program.wait_line("https://", START_SECONDS))
        assert shown is not None
        yield Running(folder, int(shown[1]))


def test_the_keys_are_for_their_owner_alone(server: Running) -> None:
    assert [(server.folder / name).stat().st_mode & 0o077 for name in ("ca.key", "server.key")] == [0, 0]


def test_a_device_that_has_the_authority_connects(server: Running) -> None:
    address, sslopt = server.device("ca.pem")
    device = iotio_client.IoTClient("kitchen-lamp", "lamp")
    with device.start(address, sslopt=sslopt):
        device.wait_connected(10)
        assert device.call("hello", "hub") == "hello hub"


async def test_so_does_an_async_one(server: Running) -> None:
    address, sslopt = server.device("ca.pem")
    device = iotio_client.AsyncIoTClient("kitchen-lamp", "lamp", {})
    async with device.start(address, sslopt=sslopt):
        await device.wait_connected(10)
        assert await device.call("hello", "hub") == "hello hub"


def test_a_device_with_another_authority_is_told_what_the_page_shows(
    server: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_certificates(tmp_path)
    address, _ = server.device("ca.pem")
    device = iotio_client.IoTClient("kitchen-lamp", "lamp")
    shown = REFUSED.partition("kitchen-lamp: ")[2].partition("; next attempt")[0]
    with pytest.raises(iotio_client.ConnectFailed) as raised:
        device.connect(address, sslopt={"ca_certs": str(tmp_path / "ca.pem")})
    assert str(raised.value) == shown.replace("hub.local:5000", f"localhost:{server.port}")

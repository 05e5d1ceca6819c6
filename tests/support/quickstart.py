"""The server and the device program of the README, run as they stand but for the port.

with QuickstartServer(tmp_path) as server:
    ...  # server.port, server.wait_line("New Ping Client"), server.terminate()
"""

from __future__ import annotations

from pathlib import Path

from scripts.tools.readme import QUICKSTART_DEVICE, QUICKSTART_PORT, QUICKSTART_SERVER, on_port, quickstart
from tests.support.processes import Program, free_port, python_program, wait_until_listening

__all__ = ["QUICKSTART_PORT", "QuickstartDevice", "QuickstartServer", "device_code", "server_code"]


def server_code() -> str:
    """The server's code, word for word."""
    return quickstart(QUICKSTART_SERVER)


def device_code() -> str:
    """The device's code, word for word."""
    return quickstart(QUICKSTART_DEVICE)


class QuickstartServer(Program):
    """The README's server as a subprocess, listening when the constructor returns.

    Args:
        folder: where its code is written.
        port: what it listens on: a free port by default, 5000 for the code exactly as it stands.
        prelude: a line of code to run before all else, such as gevent's monkey patching.
    """

    def __init__(self, folder: Path, port: int | None = None, *, prelude: str = "") -> None:
        self.port = free_port() if port is None else port
        file = folder / f"quickstart_server_{self.port}.py"
        code = server_code() if self.port == QUICKSTART_PORT else on_port(server_code(), self.port)
        file.write_text(f"{prelude}\n{code}" if prelude else code, encoding="utf-8")
        super().__init__(python_program(file), folder=folder)
        try:
            wait_until_listening(self.port, self)
        except BaseException:
            self.kill()
            raise

    @property
    def domain(self) -> str:
        """Host and port, as clients take them."""
        return f"127.0.0.1:{self.port}"


class QuickstartDevice(Program):
    """The README's device program as a subprocess."""

    def __init__(self, folder: Path, port: int) -> None:
        file = folder / f"quickstart_device_{port}.py"
        code = device_code() if port == QUICKSTART_PORT else on_port(device_code(), port)
        file.write_text(code, encoding="utf-8")
        super().__init__(python_program(file), folder=folder)

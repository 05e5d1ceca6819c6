"""Programs of iot.io 0.4, which end in eventlet's server."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from iotio.cli.old_programs import main_block, standing_in, wants_async_mode
from iotio.cli.target import Failure, Target
from tests.load.harness import Device
from tests.support.processes import free_port

from .program import iotio_run

HEAD = """
import eventlet
from eventlet import wsgi
eventlet.monkey_patch()
from flask import Flask
from iotio import DeviceType, IoTManager

app = Flask(__name__)
manager = IoTManager(app)

class Echo(DeviceType):
    def on_message(self, message, client):
        eventlet.sleep(0)
        return message

manager.add_type(Echo("echo"))
"""
SERVER = 'wsgi.server(eventlet.listen(("{host}", {port})), app)'
ENDS = {
    "plain": f"eventlet.{SERVER}",
    "guarded": f'if __name__ == "__main__":\n    {SERVER}',
    "function": f'def main():\n    {SERVER}\nif "__main__" == __name__:\n    main()',
    "port of its own": 'PORT = int("{port}")\nwsgi.server(sock=eventlet.listen(("{host}", PORT)), site=app)',
    "wrapped": "class App:\n    def __call__(self, *a):\n        return app(*a)\n" + SERVER.replace(" app)", " App())"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("installed", [False, True])
def test_a_program_that_ends_in_eventlets_server(tmp_path: Path, end: str, installed: bool) -> None:
    port = free_port()
    (tmp_path / "server.py").write_text(HEAD + ENDS[end].format(host="127.0.0.1", port=port))
    if installed:
        (tmp_path / "eventlet.py").write_text("raise SystemError('not to be loaded')")
    with iotio_run(tmp_path, "server.py") as server:
        server.wait_line(f"on http://127.0.0.1:{port}, devices")
        with Device(port, "d", "echo") as device:
            device.send("message", "hello")
            assert device.packet() == ("message", "hello")
        assert "eventlet.wsgi.server() is left out, as iotio run serves the program itself" in server.output
        assert "Traceback" not in server.output


def test_the_command_line_goes_before(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "server.py").write_text(HEAD + ENDS["plain"].format(host="", port=1))
    with iotio_run(tmp_path, "server.py", "--port", str(port)) as server:
        server.wait_line(f"on http://localhost:{port} ")


def test_flask_socketio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.py").write_text("import nothing\nsocketio = SocketIO(app, async_mode='eventlet')")
    for name in ("shop.py", "shop"):
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(Failure, match=r'async_mode="eventlet", .*: leave this argument out of SocketIO'):
            Target.parse(name).load()
    Path("other.py").write_text("socketio = SocketIO(app, async_mode='threading')")
    assert not wants_async_mode(Path("other.py"))
    assert not wants_async_mode(Path("absent.py"))


def test_what_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "server.py").write_text("import eventlet\npool = eventlet.GreenPool()")
    with standing_in() as asked, pytest.raises(Failure, match="could not be loaded"):
        Target.parse(str(tmp_path / "server.py")).load(asked)
    assert "has no eventlet.GreenPool: use threads, or leave it out" in capsys.readouterr().err


def test_the_names_stand_for_something_while_the_program_is_loaded() -> None:
    before = {name: module for name, module in sys.modules.items() if name.startswith("eventlet")}
    with standing_in() as asked:
        import eventlet  # type: ignore[import-not-found, unused-ignore]
        import eventlet.wsgi  # type: ignore[import-not-found, unused-ignore]

        got: list[int] = []
        eventlet.spawn(got.append, 1).join()
        eventlet.sleep()
        sock = eventlet.wrap_ssl(eventlet.listen(("", 5000)), certfile="c", keyfile="k", server_side=True)
        eventlet.wsgi.server(sock, "app")
    assert got == [1]
    assert (asked.app, asked.host, asked.port, asked.certfile, asked.keyfile) == ("app", "", 5000, "c", "k")
    assert {name: module for name, module in sys.modules.items() if name.startswith("eventlet")} == before


def test_the_main_block_of_other_programs_does_not_run(tmp_path: Path) -> None:
    for text in ("import eventlet", "def server(): ...\nserver()"):
        (tmp_path / "x.py").write_text(f"{text}\nif __name__ == '__main__':\n    raise SystemError")
        main_block(types.ModuleType("x"), tmp_path / "x.py")

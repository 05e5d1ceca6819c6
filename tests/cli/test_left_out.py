"""What a program starts while it is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import flask
import pytest

from iotio import IoTManager
from iotio.cli.left_out import leaving_out, tell_left_out

from .program import PLAIN, get, iotio_run, port_of

ENDS = {
    "IoTManager.run()": "manager.run()",
    "IoTManager.serve()": "import asyncio\nasyncio.run(manager.serve())",
    "Flask.run()": "app.run(debug=True)",
    "BaseServer.serve_forever()": (
        "from gevent import pywsgi\npywsgi.WSGIServer(('127.0.0.1', 0), app).serve_forever()"
    ),
    "uvicorn.run()": "import uvicorn\nuvicorn.run(manager.asgi, port=0)",
    "eventlet.wsgi.server()": "import eventlet.wsgi\neventlet.wsgi.server(eventlet.listen(('', 0)), app)",
}


@pytest.mark.parametrize("what", ENDS)
def test_a_server_that_the_program_starts_is_left_out(tmp_path: Path, what: str) -> None:
    code = f"{PLAIN}\n{ENDS[what]}\n"
    (tmp_path / "server.py").write_text(code + "print('imported', flush=True)\n")
    line = f"server.py, line {len(code.splitlines())}: {what} is left out, as iotio run serves the program itself"
    with iotio_run(tmp_path, "server", "--port", "0", "--host", "127.0.0.1") as server:
        assert get(port_of(server), "/name") == b"server"
        assert [one for one in server.lines if "left out" in one] == [line]
        assert "imported" in server.lines, "what follows runs"
        assert server.terminate() == 0
        assert "Traceback" not in server.output


def test_all_is_as_before_behind_the_block(capsys: pytest.CaptureFixture[str]) -> None:
    before = (IoTManager.run, IoTManager.serve, flask.Flask.run, list(sys.meta_path))
    with leaving_out():
        IoTManager().run()
        flask.Flask("x").run()
    assert (IoTManager.run, IoTManager.serve, flask.Flask.run, list(sys.meta_path)) == before
    assert capsys.readouterr().err.count(" is left out, as iotio run serves the program itself\n") == 2


def test_the_line_names_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    tell_left_out("x()")
    number = test_the_line_names_the_place.__code__.co_firstlineno + 1
    text = f"test_left_out.py, line {number}: x() is left out, as iotio run serves the program itself\n"
    assert capsys.readouterr().err == text

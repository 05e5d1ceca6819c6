"""From `module:attribute` to a manager."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
from flask import Flask

import iotio
from iotio import IoTManager
from iotio.cli.target import Failure, Target
from tests.load.harness import Device
from tests.support.processes import START_SECONDS

from .program import fails, iotio_run, port_of


@pytest.mark.parametrize(
    ("files", "target", "name"),
    [
        ({"thing.py": "hub = __import__('server').manager"}, "thing", "thing:hub"),
        ({"thing.py": "import types, server\nx = types.SimpleNamespace(y=server.app)"}, "thing:x.y", "thing:x.y"),
        ({"pack/__init__.py": "", "pack/a.py": "m = 1", "pack/b.py": "from .a import m\nfrom server import app"},
         "pack/b.py", "pack/b.py:app"),
        ({"pack/__init__.py": "", "pack/b.py": "from server import app"}, "pack.b", "pack.b:app"),
        ({"sub/near.py": "from server import app", "sub/my-server.py": "from near import app"},
         "sub/my-server.py", "sub/my-server.py:app"),
        ({"sub/click.py": "from server import app as hub"}, "sub/click.py:hub", "sub/click.py:hub"),
    ],
)  # fmt: skip
def test_targets(folder: Path, files: dict[str, str], target: str, name: str) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    with iotio_run(folder, target, "--port", "0") as server:
        assert server.wait_line("Serving ", START_SECONDS).startswith(f"Serving {name} (")
        with Device(port_of(server), "d") as device:
            device.echo("x")


def test_an_application_that_does_not_know_its_manager() -> None:
    module = types.ModuleType("server")
    manager = IoTManager(Flask("x"))
    vars(module).update(hub=manager, application=object(), other=object())
    vars(manager)["app"] = vars(module)["application"]
    assert Target.parse("server:application").find(module) == ("server:application", manager)
    with pytest.raises(Failure, match=r"^server:other is an object, it must be an"):
        Target.parse("server:other").find(module)


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("import server\n1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("x = (\n", "SyntaxError: '(' was never closed"),
    ],
)
@pytest.mark.parametrize("target", ["broken", "broken.py"])
def test_an_error_in_the_program_is_shown_with_its_traceback(folder: Path, code: str, last: str, target: str) -> None:
    (folder / "broken.py").write_text(code)
    status, text = fails(folder, target)
    assert status == 1
    assert text.endswith(f"{last}\nError: {target} could not be loaded: the error above is in its code\n")
    assert f'File "{folder / "broken.py"}", line' in text
    assert str(Path(iotio.__file__).parent) not in text
    assert "importlib" not in text

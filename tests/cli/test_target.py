"""From `module:attribute` to a manager."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
from flask import Flask

import iotio
from iotio import IoTManager
from iotio.cli.target import Failure, Misuse, Target, usual_file
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
    ("text", "target"),
    [
        ("server", Target("server", "", False)),
        ("a.b:c.d", Target("a.b", "c.d", False)),
        ("a/b-c.py", Target("a/b-c.py", "", True)),
        ("a.py:hub", Target("a.py", "hub", True)),
        ("a.py:make()", Target("a.py", "make", True, True)),
        ("a.b:make", Target("a.b", "make", False)),
        ("dir.py/x.py", Target("dir.py/x.py", "", True)),
    ],
)
def test_the_forms_of_a_target(text: str, target: Target) -> None:
    assert Target.parse(text) == target


@pytest.mark.parametrize("text", ["", ":app", "a b", "a/b", "a..b", "server:", "server.py:", "server:x()()", "a:b:c"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(Misuse, match=r"is not "):
        Target.parse(text)


def test_a_module_without_a_manager_is_described() -> None:
    module = types.ModuleType("server")
    with pytest.raises(Failure, match=r"server has no IoTManager under a name of its own, but nothing; add manager"):
        Target.parse("server").find(module)
    vars(module).update({f"name{number}": number for number in range(10)}, types=types, _private=1, app=Flask("x"))
    with pytest.raises(Failure) as caught:
        Target.parse("server").find(module)
    assert "but name0 (an int), name1 (an int)" in caught.value.message
    assert "name7 (an int) and 3 more; add" in caught.value.message
    assert "types" not in caught.value.message


def test_several_managers_must_be_told_apart() -> None:
    module = types.ModuleType("server")
    one, two = IoTManager(Flask("one")), IoTManager(Flask("two"))
    vars(module).update(one=one, same=one)
    assert Target.parse("server").find(module) == ("server:one", one), "it has two names"
    vars(module).update(two=two)
    with pytest.raises(Failure, match=r"several managers: one, same, two; say which, for example server:one"):
        Target.parse("server").find(module)
    vars(module).update(app=two.app)
    assert Target.parse("server").find(module) == ("server:app", two), "the usual name"
    assert Target.parse("server:same").find(module) == ("server:same", one)


def test_a_wrong_name_is_compared_with_those_that_are_there() -> None:
    module = types.ModuleType("server")
    vars(module).update(manager=IoTManager(Flask("x")), answer=42)
    with pytest.raises(Failure, match=r"^server has no attribute 'manger'; did you mean 'manager'\?$"):
        Target.parse("server:manger").find(module)
    with pytest.raises(Failure, match=r"^server:manager has no attribute 'q'$"):
        Target.parse("server:manager.q").find(module)
    with pytest.raises(Failure, match=r"^server:answer is an int, it must be an IoTManager or an application"):
        Target.parse("server:answer").find(module)


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


APP = "from flask import Flask\nfrom iotio import IoTManager\n"
FACTORY = APP + "def create_app():\n    app = Flask('made')\n    IoTManager(app)\n    return app\n"
OTHER_FACTORY = (
    "from starlette.applications import Starlette\nfrom iotio import IoTManager\n"
    "def make():\n    app = Starlette()\n    app.state.hub = IoTManager(app)\n    return app\n"
)


@pytest.mark.parametrize(
    ("code", "target", "name"),
    [
        (FACTORY, "made.py:create_app", "made.py:create_app()"),
        (FACTORY, "made:create_app()", "made:create_app()"),
        (FACTORY, "made", "made:create_app()"),
        (APP + "def make_app(debug=False):\n    return IoTManager()\n", "made", "made:make_app()"),
        (OTHER_FACTORY, "made:make", "made:make()"),
    ],
)
def test_factories(folder: Path, code: str, target: str, name: str) -> None:
    (folder / "made.py").write_text(code)
    with iotio_run(folder, target, "--port", "0") as server:
        assert server.wait_line("Serving ", START_SECONDS).startswith(f"Serving {name} (")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "def make(name): ...",
            "made:make cannot be called without arguments (missing a required argument: 'name'):"
            " write a function around it",
        ),
        ("def make(): ...", "made:make() returned None, it must return an IoTManager or an application that has one"),
        (
            "import flask\ndef make(): return flask.Flask('x')",
            "made:make() returned a Flask application without an IoTManager, it must return an IoTManager or an"
            " application that has one",
        ),
        (
            "async def make(): ...",
            "made:make is an async def, it must be a def that returns an IoTManager or an application",
        ),
        ("make = 5", "made:make is an int, it must be a def that returns an IoTManager or an application"),
    ],
)
def test_what_is_no_factory(code: str, text: str) -> None:
    module = types.ModuleType("made")
    exec(code, vars(module))
    with pytest.raises(Failure) as caught:
        Target.parse("made:make()").find(module)
    assert caught.value.message == text


def test_a_factory_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    module = types.ModuleType("made")
    exec("def make():\n    return 1 / 0", vars(module))
    with pytest.raises(Failure, match=r"^made:make\(\) failed: the error above is in its code$"):
        Target.parse("made:make").find(module)
    assert capsys.readouterr().err.endswith("ZeroDivisionError: division by zero\n")


def test_the_file_that_is_served_if_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"there is no app.py, server.py or main.py in {tmp_path}: say what to serve, such as iotio run FILE"
    with pytest.raises(Misuse) as caught:
        usual_file()
    assert caught.value.message == text
    for name in ("main.py", "server.py", "app.py"):
        Path(name).touch()
        assert usual_file() == name


def test_a_store_that_cannot_be_opened_is_one_line(folder: Path) -> None:
    code = "from iotio import IoTManager\nmanager = IoTManager(store='sqlite:////no/such/folder/x.db')\n"
    (folder / "stored.py").write_text(code)
    text = "Error: stored.py: the folder '/no/such/folder' does not exist: make it, or name a file in another one\n"
    assert fails(folder, "stored.py") == (1, text)

"""The check that each module has a test file."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.tools import modules


def make(root: Path, *files: str, text: str = "") -> None:
    """Make files."""
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize(
    ("source", "test"),
    [
        ("iotio/core/post.py", "core/test_post.py"),
        ("iotio/hosts/native/post.py", "hosts/native/test_post.py"),
        ("iotio/app.py", "test_app.py"),
        ("iotio_client/tls.py", "client/test_tls.py"),
        ("iotio_protocol/v1.py", "protocol/test_v1.py"),
        ("iotio_protocol/endpoints/base.py", "endpoints/test_base.py"),
    ],
)
def test_a_module_has_its_file_at_its_place_below_tests(tmp_path: Path, source: str, test: str) -> None:
    name = Path(test).name
    make(tmp_path, f"src/{source}", *(f"tests/{place}/{name}" for place in ("elsewhere", "core/deeper", "hosts")))
    assert modules.missing(tmp_path) == {source.removesuffix(".py").replace("/", ".")}
    make(tmp_path, f"tests/{test}")
    assert modules.missing(tmp_path) == set()


def test_what_only_names_others_needs_none(tmp_path: Path) -> None:
    make(tmp_path, "src/iotio/core/__init__.py", text="from iotio.core.post import Post\n")
    make(tmp_path, "src/iotio/__main__.py", "src/iotio/compat/Client.py", "src/iotio/store/migrations/env.py")
    assert modules.missing(tmp_path) == set()
    make(tmp_path, "src/iotio/cli/__init__.py", text="def main() -> None: ...\n")
    assert modules.missing(tmp_path) == {"iotio.cli"}


def test_modules_without_a_file_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "src/iotio/core/post.py", "src/iotio/app.py", "src/iotio_client/tls.py", "tests/test_app.py")
    assert modules.main(tmp_path) == 1
    assert capsys.readouterr().out.splitlines() == [
        "iotio.core.post has no test file of its own",
        "iotio_client.tls has no test file of its own",
    ]
    make(tmp_path, "tests/core/test_post.py", "tests/client/test_tls.py")
    assert modules.main(tmp_path) == 0
    assert capsys.readouterr().out == ""


def test_every_module_has_one() -> None:
    assert modules.main() == 0

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
        ("iotio/core/post.py", "core/deeper/test_post.py"),
        ("iotio/hosts/native/post.py", "hosts/test_post.py"),
        ("iotio/app.py", "test_app.py"),
        ("iotio_client/tls.py", "client/test_tls.py"),
        ("iotio_protocol/v1.py", "protocol/test_v1.py"),
        ("iotio_protocol/endpoints/base.py", "endpoints/test_base.py"),
    ],
)
def test_a_module_has_its_file_in_the_folder_of_its_package(tmp_path: Path, source: str, test: str) -> None:
    make(tmp_path, f"src/{source}", f"tests/elsewhere/{Path(test).name}")
    name = source.removesuffix(".py").replace("/", ".")
    assert modules.missing(tmp_path) == {name}
    make(tmp_path, f"tests/{test}")
    assert modules.missing(tmp_path) == set()


def test_what_only_names_others_needs_none(tmp_path: Path) -> None:
    make(tmp_path, "src/iotio/core/__init__.py", text="from iotio.core.post import Post\n")
    make(tmp_path, "src/iotio/__main__.py", "src/iotio/compat/Client.py", "src/iotio/store/migrations/env.py")
    assert modules.missing(tmp_path) == set()
    make(tmp_path, "src/iotio/cli/__init__.py", text="def main() -> None: ...\n")
    assert modules.missing(tmp_path) == {"iotio.cli"}


def test_a_new_module_without_and_a_listed_one_with_a_file_are_told() -> None:
    assert modules.problems({"a", "b"}, {"b", "c"}) == [
        "a has no test file of its own",
        "c has a test file or is gone: take it off untested_modules.txt",
    ]
    assert modules.problems({"a"}, {"a"}) == []


def test_the_list_is_right() -> None:
    assert modules.main() == 0

"""The check that no class grows beyond what a newcomer can hold in mind."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.tools import classes


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        folder.joinpath(f"{name}.py").write_text(text, encoding="utf-8")


def many(count: int) -> str:
    return "".join(f"    def m{number}(self): ...\n" for number in range(count))


def test_what_is_inherited_counts_once(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    write(tmp_path / "core", base="class Base:\n    def a(self): ...\n    @property\n    def b(self): ...\n")
    write(
        tmp_path / "core",
        sub="from .base import Base as First\nclass Sub(First, dict[str, int]):\n    async def c(self): ...\n",
        other="class Base:\n    def other(self): ...\nclass Sub(Base):\n    pass\n",
    )
    assert classes.methods(tmp_path) == {
        "core.base.Base": {"a", "b"},
        "core.sub.Sub": {"a", "b", "c"},
        "core.other.Base": {"other"},
        "core.other.Sub": {"other"},
    }


def test_a_class_that_is_too_large(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        tmp_path,
        one=f"class Right:\n{many(classes.MOST)}",
        two="from one import Right\nclass Large(Right):\n    def more(self): ...\n",
    )
    assert classes.main(tmp_path) == 1
    told = "two.Large has 46 methods with what it inherits, 45 may be: let it have a part\n"
    assert capsys.readouterr().out == told


def test_some_may_be_larger(tmp_path: Path) -> None:
    write(tmp_path, one=f"class NativeConnection:\n{many(70)}", two=f"class IoTClient:\n{many(51)}")
    assert classes.too_large(tmp_path) == {"two.IoTClient": 51}


def test_the_code_of_today() -> None:
    assert classes.main() == 0

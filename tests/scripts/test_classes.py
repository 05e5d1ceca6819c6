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
    write(
        tmp_path,
        base="class Base:\n    def a(self): ...\n    @property\n    def b(self): ...\n",
        sub="class Sub(base.Base, dict):\n    def a(self): ...\n    async def c(self): ...\n",
    )
    assert classes.methods(tmp_path) == {"Base": {"a", "b"}, "Sub": {"a", "b", "c"}}


def test_a_class_that_is_too_large(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, one=f"class Right:\n{many(classes.MOST)}", two="class Large(Right):\n    def more(self): ...\n")
    assert classes.main(tmp_path) == 1
    assert capsys.readouterr().out == "Large has 46 methods with what it inherits, 45 may be: let it have a part\n"


def test_some_may_be_larger(tmp_path: Path) -> None:
    write(tmp_path, one=f"class NativeConnection:\n{many(70)}", two=f"class IoTClient:\n{many(51)}")
    assert classes.too_large(tmp_path) == {"IoTClient": 51}


def test_the_code_of_today() -> None:
    assert classes.main() == 0

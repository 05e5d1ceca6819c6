"""An iotio and a protocol of two builds are found at import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from iotio import same_build
from scripts.tools.environments import ROOT


def test_one_build_is_right() -> None:
    same_build.check_build()


def test_the_error_is_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_build, "_build_of", lambda package: package.upper())
    with pytest.raises(ImportError) as error:
        same_build.check_build()
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("iotio (IOTIO) and iotio_protocol (IOTIO_PROTOCOL) are not of one build;")
    assert str(error.value).endswith("pip install --force-reinstall ./client .")


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (None, "sources"),
        ("0.4.9, pure Python", "0.4.9, pure Python"),
        ("0.5.0, compiled, 0123456789ab", "0.5.0, compiled, 0123456789ab"),
    ],
)
def test_two_builds_are_told_apart_at_import(build: str | None, says: str, tmp_path: Path) -> None:
    """Another protocol than the one that this iotio was built with is found first."""
    try:
        own = import_module("iotio._build").BUILD
    except ModuleNotFoundError:
        own = "sources"
    other = tmp_path / "iotio_protocol"
    shutil.copytree(ROOT / "src" / "iotio_protocol", other, ignore=shutil.ignore_patterns("__pycache__"))
    if build is not None:
        (other / "_build.py").write_text(f"BUILD = {build!r}")
    done = subprocess.run(
        [sys.executable, "-c", "import iotio"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if own == says:
        assert done.returncode == 0
        return
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: iotio ({own}) and iotio_protocol ({says}) are not of one build; install both from the same"
        " source: pip install --force-reinstall ./client ."
    )

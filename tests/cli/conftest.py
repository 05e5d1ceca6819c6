"""The folder in which the commands run."""

from __future__ import annotations

from pathlib import Path

import pytest

from .program import PLAIN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `server.py`."""
    (tmp_path / "server.py").write_text(PLAIN)
    return tmp_path

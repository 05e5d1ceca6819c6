"""The version: one number, of the form that Semantic Versioning asks for. tests/test_project.py compares its copies."""

from __future__ import annotations

import re

from iotio_protocol.version import __version__


def test_the_form() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)

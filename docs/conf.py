"""Settings of Sphinx; scripts/docs builds the pages."""

from __future__ import annotations

import importlib.metadata

from pygments.lexers.special import TextLexer  # type: ignore[import-untyped]  # Pygments has no types
from sphinx.application import Sphinx

project = "iot.io"
author = "The iotio contributors"
version = release = importlib.metadata.version("iotio")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True
# Headings down to the third level can be linked to from other pages.
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"iot.io {release}"


def setup(app: Sphinx) -> None:
    """Have Sphinx take the configurations in the pages for which Pygments has no lexer."""
    app.add_lexer("haproxy", TextLexer)

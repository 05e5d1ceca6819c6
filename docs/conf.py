"""Settings of Sphinx; scripts/docs builds the pages."""

from __future__ import annotations

import importlib.metadata

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

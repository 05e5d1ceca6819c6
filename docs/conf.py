"""Settings of Sphinx; scripts/docs builds the pages."""

from __future__ import annotations

import importlib.metadata

from pygments.lexers.special import TextLexer  # type: ignore[import-untyped]  # Pygments has no types
from sphinx.application import Sphinx

project = "iot.io"
author = "The iotio contributors"
version = release = importlib.metadata.version("iotio")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types in signatures, most of which stand on no page
# Headings down to the third level can be linked to from other pages.
myst_heading_anchors = 3

# Docstrings: `name` is code, and Args, Returns, Raises and Attributes are sections.
default_role = "literal"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # the fields of a class are listed by its docstring alone
autoclass_content = "both"  # what a class is, and what its constructor takes
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 100
add_module_names = False

html_theme = "furo"
html_title = f"iot.io {release}"


def setup(app: Sphinx) -> None:
    """Have Sphinx take the configurations in the pages for which Pygments has no lexer."""
    app.add_lexer("haproxy", TextLexer)

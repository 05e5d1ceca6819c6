"""What the server offers to browsers and programs over HTTP, as a part of the Flask application."""

from __future__ import annotations

from .rest import register

__all__ = ["register"]

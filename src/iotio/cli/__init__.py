"""The command `iotio`."""

from .command import main

__all__ = ["main"]

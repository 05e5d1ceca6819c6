"""Find out at import whether iotio and the protocol that it finds are of one build.

The compiled modules of iotio know the memory layout of those of `iotio_protocol`, which is in the distribution
iotio-client. A wheel of either has a module `_build` that names its build; sources have none.
"""

from __future__ import annotations

from importlib import import_module

__all__ = ["check_build"]


def check_build() -> None:
    """Raise ImportError, in one line that says what to do, unless both packages are of one build."""
    ours, theirs = _build_of("iotio"), _build_of("iotio_protocol")
    if ours != theirs:
        raise ImportError(
            f"iotio ({ours}) and iotio_protocol ({theirs}) are not of one build; install both from the same source:"
            " pip install --force-reinstall ./client ."
        )


def _build_of(package: str) -> str:
    """Return the name of the build of a package."""
    try:
        name: str = import_module(f"{package}._build").BUILD
    except ModuleNotFoundError:
        return "sources"
    return name

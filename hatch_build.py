"""Compiles the hot paths when a wheel is built, where there is a C compiler; without one the wheel is pure Python.

A module is compiled if a `.pxd` file beside it gives its C types. The sources stay what they are: the tests run them
as they stand, too. An editable install is never compiled, so that an edit is always what runs.
IOTIO_PURE=1 leaves it out; with IOTIO_COMPILED=1 a failure is an error.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the extension modules to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling: called before the files are collected."""
        if self.target_name != "wheel" or version == "editable" or os.environ.get("IOTIO_PURE"):
            return
        self._made = tempfile.TemporaryDirectory()
        try:
            built = compile_modules(Path(self.root) / "src", Path(self._made.name))
        except Exception as error:
            if os.environ.get("IOTIO_COMPILED"):
                raise
            self.app.display_warning(f"iotio is built without its compiled parts, it will be slower: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update({str(path): str(name) for path, name in built})


def compile_modules(sources: Path, target: Path) -> list[tuple[Path, Path]]:
    """Compile every module that has a `.pxd`.

    Args:
        sources: the folder with the packages.
        target: where to put all that is made.

    Returns:
        Each extension module that was made, and its place relative to `sources`.
    """
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    flags = [] if sys.platform == "win32" else ["-O2", "-g0"]
    extensions = []
    for types in sorted(sources.rglob("*.pxd")):
        name = ".".join(types.relative_to(sources).with_suffix("").parts)
        source = types.with_suffix(".pyx") if types.with_suffix(".pyx").exists() else types.with_suffix(".py")
        extensions.append(Extension(name, [os.path.relpath(source)], extra_compile_args=flags))
    distribution = Distribution(
        {
            "ext_modules": cythonize(
                extensions,
                build_dir=str(target / "c"),
                include_path=[str(sources)],
                language_level=3,
                quiet=True,
                compiler_directives={"annotation_typing": False},
            )
        }
    )
    command: Any = distribution.get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(target / "lib"), str(target / "temp")
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.run()
    made = target / "lib"
    return [(made / path, Path(path)) for path in (os.path.relpath(full, made) for full in command.get_outputs())]

"""Take the packages of a distribution from `src`, and compile their hot paths where there is a C compiler.

Both distributions of this repository are built by this file: iotio-client from its own folder, which in a clone has its
sources beside it (`../src`) and in an sdist below it (`src`), and iotio from the root. Each pyproject.toml names its
packages.

A module is compiled if a `.pxd` file beside it gives its C types. The sources stay what they are: the tests run them
as they stand, too. An editable install is never compiled, so that an edit is always what runs.
IOTIO_PURE=1 leaves it out; with IOTIO_COMPILED=1 a failure is an error.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Add packages, extension modules and the name of the build to a wheel, and sources to an sdist."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling: called before the files are collected."""
        root = Path(self.root)
        sources = root / "src" if (root / "src").exists() else root.parent / "src"
        packages: list[str] = self.config["packages"]
        include: dict[str, str] = build_data["force_include"]
        if self.target_name == "sdist":
            include.update({str(sources / package): f"src/{package}" for package in packages})
            if "iotio_protocol" not in packages:  # what the others are compiled against
                protocol = sources / "iotio_protocol"
                for file in (protocol / "__init__.py", *sorted(protocol.rglob("*.pxd"))):
                    include[str(file)] = f"src/{file.relative_to(sources).as_posix()}"
            return
        if version == "editable":  # pyproject.toml names the folder
            return
        include.update({str(sources / package): package for package in packages})
        self._made = tempfile.TemporaryDirectory()
        folder = Path(self._made.name)
        kind = "pure Python"
        if not os.environ.get("IOTIO_PURE"):
            try:
                built = compile_modules(sources, packages, folder)
            except Exception as error:
                if os.environ.get("IOTIO_COMPILED"):
                    raise
                self.app.display_warning(f"{packages[0]} is built without its compiled parts, it is slower: {error}")
            else:
                kind = f"compiled, {_interface(sources)}"
                build_data["pure_python"] = False
                build_data["infer_tag"] = True
                include.update({str(path): str(name) for path, name in built})
        build = f"{self.metadata.version}, {kind}"
        for package in packages:
            name = folder / f"{package}_build.py"
            name.write_text(f'"""The build that this package is of; see `iotio`."""\n\nBUILD = "{build}"\n')
            include[str(name)] = f"{package}/_build.py"


def compile_modules(sources: Path, packages: list[str], target: Path) -> list[tuple[Path, Path]]:
    """Compile every module that has a `.pxd`.

    Args:
        sources: the folder with the packages, and with the `.pxd` files of others that they use.
        packages: the names of the packages to compile.
        target: where to put all that is made.

    Returns:
        Each extension module that was made, and its place relative to `sources`.
    """
    from Cython.Build import cythonize
    from setuptools import Extension

    flags = [] if sys.platform == "win32" else ["-O2", "-g0"]
    # First a file that needs Python's headers and nothing else: to translate all modules takes minutes on a Pi.
    probe = target / "probe.c"
    probe.write_text("#include <Python.h>\nPyMODINIT_FUNC PyInit_probe(void) { return NULL; }\n")
    _compile([Extension("probe", [str(probe)])], target / "probe")
    extensions = []
    for types in sorted(path for package in packages for path in (sources / package).rglob("*.pxd")):
        name = ".".join(types.relative_to(sources).with_suffix("").parts)
        source = types.with_suffix(".pyx") if types.with_suffix(".pyx").exists() else types.with_suffix(".py")
        extensions.append(Extension(name, [os.path.relpath(source)], extra_compile_args=flags))
    translated = cythonize(
        extensions,
        build_dir=str(target / "c"),
        include_path=[str(sources)],
        language_level=3,
        quiet=True,
        compiler_directives={"annotation_typing": False},
    )
    return _compile(translated, target)


def _compile(extensions: list[Any], target: Path) -> list[tuple[Path, Path]]:
    """Have setuptools compile these into `target`; see `compile_modules`."""
    from setuptools import Distribution

    command: Any = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(target / "lib"), str(target / "temp")
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.run()
    made = target / "lib"
    return [(made / path, Path(path)) for path in (os.path.relpath(full, made) for full in command.get_outputs())]


def _interface(sources: Path) -> str:
    """Name the C interface of the protocol's modules: iotio's are compiled against it, and fit no other."""
    from Cython import __version__ as cython

    sums = hashlib.sha256(cython.encode())
    for types in sorted((sources / "iotio_protocol").rglob("*.pxd")):
        sums.update(types.name.encode() + types.read_bytes())
    return sums.hexdigest()[:12]

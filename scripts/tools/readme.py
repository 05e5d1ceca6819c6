"""The code blocks of the README and the documentation, for the demo and the tests.

Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"

QUICKSTART_SERVER = "Programs written for iot.io"
QUICKSTART_DEVICE = "device.py"
QUICKSTART_PORT = 5000

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block.

    Attributes:
        path: the file that it stands in.
        line: number of its first line of code.
        heading: the nearest heading above it.
        language: the first word after the fence, "" where there is none.
        words: the words after it, which tell the tests what to do with it.
        code: its text.
    """

    path: Path
    line: int
    heading: str
    language: str
    words: tuple[str, ...]
    code: str

    @property
    def name(self) -> str:
        """Where it stands, for messages."""
        return f"{self.path.name}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """All fenced code blocks of a Markdown file, in their order."""
    found = []
    heading = indent = language = ""
    words: list[str] = []
    code: list[str] | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if code is None:
            if fence:
                indent, code = fence["indent"], []
                language, *words = fence["info"].split() or [""]
            elif line.startswith("#"):
                heading = line.lstrip("#").strip()
        elif fence and not fence["info"]:
            text = "\n".join(code) + "\n"
            found.append(Block(path, number - len(code), heading, language, tuple(words), text))
            code = None
        else:
            code.append(line.removeprefix(indent))
    if code is not None:
        raise ValueError(f"{path}: the last code block is not closed")
    return found


def quickstart(heading: str) -> str:
    """Return the one Python block of the README under `heading`, as it stands."""
    found = [block for block in blocks(README) if block.heading == heading and block.language == "python"]
    if len(found) != 1:
        raise ValueError(f"{README} has {len(found)} Python blocks under {heading!r}, wanted one")
    return found[0].code


def on_port(code: str, port: int) -> str:
    """`code` with the quickstart's port number replaced; everything else as it stands."""
    if code.count(str(QUICKSTART_PORT)) != 1:
        raise ValueError(f"port {QUICKSTART_PORT} stands not exactly once in the code")
    return code.replace(str(QUICKSTART_PORT), str(port))

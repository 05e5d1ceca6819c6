"""`python -m iotio` is the command `iotio`."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()

"""`python -m iotio` is the command `iotio`."""

from __future__ import annotations

from .cli import main

__protocol_version__ = "1"  # iot.io 0.4 has it here, and nowhere else

if __name__ == "__main__":
    main()

"""What the endpoints of devices are, and what they should be: see docs/explanation/state.md.

`iotio_protocol.twin` is the table of all that can happen to one endpoint. `device_twins` has those of one device, and
sends what is outstanding; `twins` those of all devices, and what a program sets; `reports` reads what devices say;
`notifier` calls `on_state`. The core knows this package by `iotio.core.ports.TwinsPort`.
"""

from __future__ import annotations

from .twins import Twins

__all__ = ["Twins"]

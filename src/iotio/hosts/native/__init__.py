"""The native host: devices and HTTP on one asyncio loop.

`server` listens and starts, `acceptor` lets connections in, `tls` shakes hands, `protocols` serve one connection each
from its first bytes on, `http` is for all but devices, `host` is what the connections of one loop share, `connection`
is one device. User code runs in steps of a lane: `async def` on the loop
(`eager`, `first_step`, `stand_in`), `def` on threads (`workers`).

The hot path is in these files: here in `connection`, `lane`, `workers`, `first_step`, `eager`, `stand_in` and `host`;
in the core in `connection`, `broadcast`, `handler_context`, `write_buffer`, `route` and `lane`; in the protocol in
`frames`, `session`, `v1` and `v2`. All but `v2` are compiled: a `.pxd` file beside each gives its C types. A change
of one of them is measured, see CONTRIBUTING.md.
"""

"""The native host: devices and HTTP on one asyncio loop.

`server` listens and starts, `protocols` serve one connection each from its first bytes on, `host` is what the
connections of one loop share, `connection` is one device. User code runs in steps of a lane: `async def` on the loop
(`eager`, `first_step`, `stand_in`), `def` on threads (`workers`).
"""

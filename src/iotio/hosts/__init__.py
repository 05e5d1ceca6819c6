"""Move bytes and run handlers: a folder for each kind of host, and what several of them share.

`native` and `asgi` run on an asyncio loop, `blocking` in a thread or greenlet for each connection, `memory` in the
caller.
"""

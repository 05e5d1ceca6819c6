"""Devices and an ASGI application in one, for uvicorn, hypercorn, granian and the native host."""

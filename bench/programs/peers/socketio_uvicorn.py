"""python-socketio under uvicorn. argv: port"""

import sys

import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], ping_interval=60, ping_timeout=60)


@sio.event
async def connect(sid, environ):
    if environ.get("HTTP_IOT_IO_TYPE") == "sub":
        await sio.enter_room(sid, "room")


@sio.event
async def echo(sid, data):
    await sio.emit("echo", data, to=sid)


@sio.event
async def pub(sid, data):
    await sio.emit("pub", data, room="room")


uvicorn.run(
    socketio.ASGIApp(sio),
    host="127.0.0.1",
    port=int(sys.argv[1]),
    ws="websockets-sansio",
    http="httptools",
    loop="uvloop",
    log_level="critical",
    access_log=False,
    ws_per_message_deflate=False,
    ws_ping_interval=None,
    backlog=4096,
)

"""picows on uvloop, no packets: echo, and fan-out by a loop over the transports. argv: port"""

import logging
import sys

import uvloop
from picows import WSListener, WSMsgType, ws_create_server

logging.disable(logging.CRITICAL)
subs = set()


class Echo(WSListener):
    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            return
        transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Sub(WSListener):
    def on_ws_connected(self, transport):
        subs.add(transport)

    def on_ws_disconnected(self, transport):
        subs.discard(transport)


class Pub(WSListener):
    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.BINARY:
            payload = frame.get_payload_as_bytes()
            for sub in subs:
                sub.send(WSMsgType.BINARY, payload)


def listener(request):
    return {"sub": Sub, "pub": Pub}.get(request.headers.get("IoT-IO-Type"), Echo)()


async def main():
    server = await ws_create_server(listener, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


uvloop.run(main())

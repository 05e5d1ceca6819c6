"""A program with work beside its devices, for servers that do not tell of their start: `python -m ... gevent|flask`."""

from __future__ import annotations

import sys

if __name__ == "__main__" and sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()

import threading

from flask import Flask

from iotio import IoTManager

app = Flask("work")
manager = IoTManager(app)


def say(text: str) -> None:
    print(text, flush=True)


@manager.event
def on_start() -> None:
    say("started")


@manager.every(0.05)
def work() -> None:
    say(f"works in {type(threading.current_thread()).__name__}")


@manager.every(0.05)
async def later() -> None:
    say("works later")


@manager.event
async def on_stop() -> None:
    say("stopped")


@app.get("/")
def view() -> str:
    say("seen")
    return "here"


if __name__ == "__main__":
    if sys.argv[1] == "flask":
        from werkzeug.serving import make_server

        server = make_server("127.0.0.1", 0, app, threaded=True)
        say(f"ready {server.server_port}")
        server.serve_forever()
    else:
        from gevent import pywsgi
        from geventwebsocket.handler import WebSocketHandler

        gevent_server = pywsgi.WSGIServer(("127.0.0.1", 0), app, handler_class=WebSocketHandler, log=None)
        if "now" in sys.argv:
            manager.begin()
        gevent_server.start()
        say(f"ready {gevent_server.server_port}")
        gevent_server.serve_forever()

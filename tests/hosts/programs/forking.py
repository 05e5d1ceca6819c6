"""A server whose handlers start processes: `forking.py HOST [STORE]`; tells `ready PORT`, and `child PID ...`.

HOST is native, async (native, with `async def` handlers), gevent, flask or asgi.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

HOST = sys.argv[1]
if HOST == "gevent":
    from gevent import monkey

    monkey.patch_all()

import flask  # noqa: E402

from iotio import DeviceType, IoTClient, IoTManager  # noqa: E402

app = flask.Flask("forking")
manager = IoTManager(app, store=sys.argv[2] if len(sys.argv) > 2 else None)


def tell(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def what_is_raised(function: Callable[[], object]) -> str:
    try:
        return repr(function())
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def use(client: IoTClient) -> None:
    """Use what a forked child must not, and tell what comes of it."""
    for name, function in {
        "emit": lambda: manager.emit("x", 1, client_type="forker"),
        "client.emit": lambda: client.emit("x", 1),
        "client.call": lambda: client.call("x", 1),
        "durable": lambda: manager.emit("x", 1, client.id, durable=True),
        "clients": lambda: manager.clients,
        "devices": lambda: list(manager.devices),
        "join": lambda: client.join("room"),
        "close": manager.close,
        "run": lambda: manager.run(port=0),
    }.items():
        tell(f"child {os.getpid()} {name} {what_is_raised(function)}")
    handlers = {name: signal.getsignal(getattr(signal, name)) for name in ("SIGTERM", "SIGINT")}
    usual = handlers == {"SIGTERM": signal.SIG_DFL, "SIGINT": signal.default_int_handler}
    tell(f"child {os.getpid()} signals {'usual' if usual else handlers}")


def fork(how: str, client: IoTClient) -> None:
    """Start a process in the way that is asked for."""
    if how == "use":
        if not os.fork():
            use(client)
            os._exit(0)
    elif how == "sleep":
        if not os.fork():
            tell(f"child {os.getpid()} sleeps")
            time.sleep(60)
            os._exit(0)
    elif how == "exit":
        if not os.fork():
            threading.Timer(20, os._exit, [7]).start()
            tell(f"child {os.getpid()} ends")
            sys.stdout.flush()
            try:
                sys.exit(0)
            finally:  # whatever this thread is for
                import atexit

                atexit._run_exitfuncs()
                os._exit(0)
    elif how == "sys.exit":
        if not os.fork():
            tell(f"child {os.getpid()} ends")
            sys.exit(3)
        tell(f"ended with {os.waitstatus_to_exitcode(os.wait()[1])}")
    elif how == "subprocess":
        code = "import os, time; os.write(1, f'child {os.getpid()} sleeps\\n'.encode()); time.sleep(60)"
        subprocess.Popen([sys.executable, "-c", code])
    else:
        context: Any = multiprocessing.get_context(how)
        process = context.Process(target=work, daemon=True)
        process.start()


def work() -> None:
    """Run in a process of `multiprocessing`."""
    tell(f"child {os.getpid()} sleeps")
    time.sleep(60)


class Forker(DeviceType):
    """Starts a process when its device says how."""

    def on_start(self, message: str, client: IoTClient) -> str:
        fork(message, client)
        return message

    def on_disconnect(self, client: IoTClient) -> None:
        tell(f"gone {client.id} in {os.getpid()}")


class AsyncForker(DeviceType):
    """The same on the loop's thread. Its child returns to the loop."""

    async def on_start(self, message: str, client: IoTClient) -> str:
        if message == "return":
            if not os.fork():
                tell(f"child {os.getpid()} sleeps")
            return message
        fork(message, client)
        return message


def main() -> None:
    """Serve until a signal."""
    os.setpgrp()

    manager.add_type((AsyncForker if HOST == "async" else Forker)("forker"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def wait_for_port() -> None:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                tell(f"ready {port}")
                return

    threading.Thread(target=wait_for_port, daemon=True).start()
    if HOST in ("native", "async"):
        manager.run("127.0.0.1", port, loop="asyncio")
    elif HOST == "asgi":
        import uvicorn

        uvicorn.run(manager.asgi, host="127.0.0.1", port=port, loop="asyncio")
    elif HOST == "gevent":
        from gevent.pywsgi import WSGIServer
        from geventwebsocket.handler import WebSocketHandler

        WSGIServer(("127.0.0.1", port), app, handler_class=WebSocketHandler).serve_forever()
    else:
        app.run("127.0.0.1", port, threaded=True)


if __name__ == "__main__":
    main()

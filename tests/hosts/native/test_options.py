"""The options of the native server: what there is, and what is refused."""

from __future__ import annotations

import inspect
import re
import warnings
from typing import Any

import pytest
import uvicorn

from iotio import IoTManager
from iotio.hosts.native.options import ServerOptions, check_options
from iotio.hosts.native.server import NativeServer

NAMES = frozenset(ServerOptions.__annotations__)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prot", "manager.run() has no option 'prot'; did you mean 'port'?"),
        ("ssl_cert_file", "manager.run() has no option 'ssl_cert_file'; did you mean 'ssl_certfile'?"),
        ("thread", "manager.run() has no option 'thread'; did you mean 'threads'?"),
        (
            "proxy_headers",
            "manager.run() has no option 'proxy_headers': for devices, too, give"
            " IoTManager(..., options=Options(trusted_proxies=[...])) instead",
        ),
        (
            "quux",
            "manager.run() has no option 'quux'; there are host, port, uds, fd, backlog, ssl_certfile, ssl_keyfile,"
            " ssl_keyfile_password, ssl_ca_certs, ssl_cert_reqs, ssl_ciphers, threads, slow_handler, http_connections,"
            " timeout_keep_alive, root_path, lifespan, server_header, date_header, loop, request_context, view_threads,"
            " max_body, access_log",
        ),
    ],
)
def test_an_unknown_option_is_a_type_error_with_words(name: str, text: str) -> None:
    options: Any = {name: 1}
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        IoTManager().run(**options)


@pytest.mark.parametrize("method", ["start", "started"])
def test_each_way_to_serve_names_itself(method: str) -> None:
    with pytest.raises(TypeError, match=rf"^manager\.{method}\(\) has no option 'debug'; there are host, port, uds"):
        getattr(IoTManager(), method)(debug=True)


async def test_serve_knows_them_too() -> None:
    options: Any = {"debug": True}
    with pytest.raises(TypeError, match=r"^manager\.serve\(\) has no option 'debug'; there are host"):
        await IoTManager().serve(**options)
    with pytest.raises(TypeError, match=r"^manager\.serve\(\) serves on the loop that runs: leave loop= out$"):
        await IoTManager().serve(loop="asyncio")


def test_each_option_is_one_of_the_server_or_of_uvicorn() -> None:
    ours = {*inspect.signature(NativeServer).parameters, *inspect.signature(IoTManager._server).parameters}
    assert NAMES - ours <= set(inspect.signature(uvicorn.Config).parameters)


def test_the_old_name_of_threads() -> None:
    manager = IoTManager()
    with pytest.warns(DeprecationWarning, match=r"^workers= of manager\.run\(\) has the name threads= now$") as caught:
        check_here(workers=3)
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=r"^workers= of manager\.asgi_app\(\) has the name threads= now$"):
        assert manager.asgi_app(workers=3)._threads == 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert manager._server(workers=3)._threads == manager._server(threads=3)._threads == 3


def check_here(**options: Any) -> None:
    """In the place of `run`."""
    check_options("manager.run()", options)

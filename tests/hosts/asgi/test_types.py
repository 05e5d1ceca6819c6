"""What is taken for an ASGI application, and what is said of other things."""

from __future__ import annotations

import functools
from typing import Any

import flask
import pytest
from starlette.applications import Starlette

from iotio.hosts.asgi.types import is_asgi, what_it_is


async def function(scope: Any, receive: Any, send: Any) -> None:
    """An application."""


async def two(scope: Any, receive: Any) -> None:
    """One parameter less."""


async def four(app: Any, scope: Any, receive: Any, send: Any) -> None:
    """One more."""


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


def plain(scope: Any, receive: Any, send: Any) -> None:
    """Not async."""


class Called:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """An application."""

    async def method(self, scope: Any, receive: Any, send: Any) -> None:
        """Another."""


@pytest.mark.parametrize(
    "app", [function, Called(), Called().method, Starlette(), functools.partial(four, None)], ids=repr
)
def test_these_are(app: Any) -> None:
    assert is_asgi(app)


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (None, "of type NoneType"),
        ("module:app", "of type str"),
        (Starlette, "the class Starlette: call it first"),
        (flask.Flask, "the class Flask: call it first"),
        (wsgi, "a WSGI application"),
        (flask.Flask("x").wsgi_app, "a WSGI application"),
        (two, "no async def with three parameters"),
        (four, "no async def with three parameters"),
        (plain, "no async def with three parameters"),
        (len, "no async def with three parameters"),
    ],
)
def test_these_are_not(app: Any, words: str) -> None:
    assert not is_asgi(app)
    assert words in what_it_is(app)

"""Where the user code of one device runs: a context of contextvars, and within it what the host wraps around."""

from __future__ import annotations

import os
import sys
from _thread import LockType
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from contextvars import Context, copy_context
from typing import Any, NoReturn, Protocol

from .handles import IoTClient, current_client
from .ports import Warnings

__all__ = ["HandlerContext", "Runner", "Scope", "log_failure"]

Scope = Callable[[IoTClient], AbstractContextManager[object]]
"""What a host wraps around all user code of one connection, such as a Flask context; entered once, or never."""


class Runner(Protocol):
    """The connection, as its user code needs it.

    Attributes:
        passed_on: what `run_handler` raises again instead of logging it.
    """

    passed_on: tuple[type[BaseException], ...]
    _lock: LockType

    @property
    def log_throttle(self) -> Warnings: ...

    def run_async(self, coroutine: Any, context: Context) -> Any: ...


class HandlerContext:
    """Runs the user code of one device, and logs what it raises. Made right before the first user code runs.

    The scope is entered at once. It is left, in the context in which it was entered, when the teardown is done and
    every abandoned call has returned.

    Attributes:
        context: the context that user code runs in.
        n_abandoned: calls that are waited for no longer and have not returned.

    Args:
        runner: the connection.
        client: whose user code it is.
        context: the context to run it in.
        scope: see `Scope`.
    """

    __slots__ = ("_client", "_entered_in", "_lock", "_runner", "_scope", "_torn_down", "context", "n_abandoned")

    def __init__(self, runner: Runner, client: IoTClient, context: Context, scope: Scope | None) -> None:
        self.context = self._entered_in = context
        self.n_abandoned = 0
        self._runner = runner
        self._lock = runner._lock
        self._client = client
        self._scope: AbstractContextManager[object] | None = None
        self._torn_down = False
        context.run(current_client.set, client)
        if scope is not None:
            try:
                entered = scope(client)
                context.run(entered.__enter__)
                self._scope = entered
            except Exception as error:
                text = "the context of device %r could not be entered; its handlers run without"
                runner.log_throttle.error(error, "context", text, client.id)

    def run_handler(
        self, event: str, function: Callable[..., Any], arguments: tuple[Any, ...], context: Context | None = None
    ) -> Any:
        """Run user code; this is the one place that catches what it raises.

        Args:
            event: for the log.
            function: a `def`, or what returns something to be awaited.
            arguments: of the function.
            context: the one when the call was begun: `abandon` may put another in its place at any moment.

        Returns:
            What the function returned; None if it failed.
        """
        if context is None:
            context = self.context
        try:
            result = context.run(function, *arguments)
            if hasattr(result, "__await__"):
                result = self._runner.run_async(result, context)
            return result
        except BaseException as error:
            if isinstance(error, self._runner.passed_on):
                raise
            self.log_failure(event, error)
            return None

    def run_observer(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Run one `on_presence` of several within a step that is in the context already."""
        try:
            result = function(*arguments)
            if hasattr(result, "__await__"):
                self._runner.run_async(result, copy_context())
        except BaseException as error:
            if isinstance(error, self._runner.passed_on):
                raise
            self.log_failure("presence", error)

    @property
    def label(self) -> str:
        """Type and name of the device, for the log."""
        return f"type {self._client.type!r} for device {self._client.id!r}"

    def log_failure(self, event: str, error: BaseException) -> None:
        """Log what a handler raised. `sys.exit()` ends nothing, but for a child process that a handler has forked."""
        if isinstance(error, SystemExit) and self._client.manager._disowned:
            _exit_child(error)
        log_failure(self._runner.log_throttle, self._client, event, error)

    # -- the end ---------------------------------------------------------------------------------------

    def abandon(self, count: int) -> Context:
        """Give up waiting for calls that run; the lock is held.

        Args:
            count: how many they are; each is reported to `abandoned_ended` when it returns.

        Returns:
            The context for all further user code, as no other thread can enter the one that these calls are in.
        """
        self.n_abandoned += count
        self.context = self.context.copy()
        return self.context

    def abandoned_ended(self, count: int) -> None:
        """Count abandoned calls that have returned. Behind the last one the scope is left."""
        with self._lock:
            self.n_abandoned -= count
        self._exit_scope()

    def tear_down(self) -> None:
        """Leave the scope: no user code begins any more."""
        with self._lock:
            self._torn_down = True
        self._exit_scope()

    def _exit_scope(self) -> None:
        with self._lock:
            if not self._torn_down or self.n_abandoned:
                return
            scope, self._scope = self._scope, None
        if scope is not None:
            try:
                self._entered_in.run(scope.__exit__, None, None, None)
            except Exception as error:
                text = "the context of device %r could not be left"
                self._runner.log_throttle.error(error, "context", text, self._client.id)


def _exit_child(error: SystemExit) -> NoReturn:
    """End a forked child as `sys.exit()` asks for. In this thread of the server nobody else would do so."""
    code = error.code
    status = code if isinstance(code, int) else 0 if code is None else 1
    with suppress(OSError, ValueError, AttributeError):  # the stream is closed, or there is none
        if status != code and code is not None:
            sys.stderr.write(f"{code}\n")
        sys.stderr.flush()
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    os._exit(status & 0xFF)


def log_failure(throttle: Warnings, client: IoTClient, event: str, error: BaseException) -> None:
    """Log what a handler raised, with handler, type and device: rate-limited, for devices choose how often that is."""
    text = "handler on_%s of type %r failed for device %r"
    hint = client.manager.explain(error)
    if hint:
        text += f": {hint}"
    throttle.error(error, f"handlers of {client.type}", text, event, client.type, client.id)

"""One device on an asyncio transport: the hot path, from the bytes that are read to the answers that are written.

The socket is touched by the loop's thread only. What other threads send is collected and handed over in one piece;
what is sent to a device within one turn of the loop leaves in one write.

User code of a device runs in its lane, see lane.py.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterable
from contextvars import Context
from functools import partial
from typing import Any

from iotio_protocol import v2
from iotio_protocol.errors import InvalidPacket
from iotio_protocol.frames import Item
from iotio_protocol.json_pieces import AT_ONCE
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import State, string_frame
from iotio_protocol.unread import LARGE, Unread
from iotio_protocol.v1 import decode_value, read_json_in_pieces

from ...core.connection import Connection, count_read
from ...core.dispatch import reading_and_writing
from ...core.handler_context import HandlerContext, Scope
from ...core.lane import Call, Kind, Step
from ...core.primitives import wait
from ...core.route import Route
from ...core.write_buffer import WriteBuffer
from ..awaitables import create_task
from ..timing import LINGER, PIECE
from .backlog import SLICE, Backlog
from .eager import change, enter, leave
from .first_step import finishes, references
from .host import NativeHost
from .lane import LoopLane

__all__ = ["NativeConnection"]

_OPEN, _CLOSED = State.OPEN, State.CLOSED  # to look up a member of an Enum takes its time
_TEARDOWN = 2.0  # seconds that another thread waits for a teardown, which must run on the loop


class NativeConnection(Connection):
    """A device's connection on an asyncio transport.

    Attributes:
        lane: where the steps of user code wait.
        host: the loop's.

    Args:
        host: the loop's host.
        headers: of the upgrade request.
        transport: the stream.
        peer: the other end's address, for the log.
        scope: see `Scope`.
        subprotocol: what was agreed on, or None.
        keeps_alive: whether pings are sent: not where a foreign server does that.
    """

    def __init__(
        self,
        host: NativeHost,
        headers: Iterable[tuple[str, str]],
        transport: asyncio.Transport,
        *,
        peer: str,
        scope: Scope | None,
        subprotocol: str | None = None,
        keeps_alive: bool = True,
    ) -> None:
        super().__init__(host.manager, headers, peer=peer, scope=scope, subprotocol=subprotocol)
        self.session.keeps_alive = keeps_alive
        self.host = host
        self._transport = transport
        self.buffer = WriteBuffer()
        self._frames = self.session.frames
        self._replies: list[bytes] = []  # frames that this turn of the loop answers with, see `_collect`
        self._n_answers = 0  # of `n_sent`, those that only the loop's thread counts
        self._dirty = False  # in the host's list, or about to be flushed by us
        self._writing_paused = False
        self.lane: LoopLane = LoopLane(host, self, self)
        self._routes: dict[bytes, Route] | None = None  # from the first user code on, if packets can take the short way
        self._name_at = 0  # where the event's name begins in these packets
        self._ending = False  # our end is sent; the peer's is awaited
        self._peer_ended = False
        self._lost = False  # the transport is gone
        self._linger: asyncio.TimerHandle | None = None
        self._backlog: Backlog | None = None
        host.manager.connections.attach(self)

    # -- what the transport calls ----------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Take bytes from the transport. Answers to all frames in them leave in one write."""
        if self._ending:
            return
        backlog = self._backlog
        if backlog is None and len(data) <= SLICE:
            items = self._frames.feed(data)
            if len(items) <= PIECE:
                flush = not self._dirty
                self._dirty = True
                self._handle_items(items, len(data))
                self._end_turn(flush)
                return
            backlog = self._fall_behind()
            backlog.add_items(items, len(data))
        else:
            backlog = backlog or self._fall_behind()
            backlog.add(data)
        if self._backlog is None:
            self._backlog = backlog
            self.take_turn()

    def _handle_items(self, items: list[Item], size: int) -> None:
        """Handle messages and control frames, which came in so many bytes."""
        if self._meter is not None:
            count_read(self, len(items), size)
        if self._routes is None or self._writing_paused:
            self._take_rare(items)
        else:
            self.session.last_received = self.host.clock()
            done = self._take_turn(items, 0)
            if done != len(items):
                self._go_on(items, done)

    def _end_turn(self, flush: bool) -> None:
        """Write the answers of a turn; `flush` unless somebody else is about to."""
        if len(self._replies) == 1 and flush and self.gone is None and not self.buffer.frames:
            self._answer()
        elif flush:
            self.flush()
        if self.session.state is _CLOSED:
            self._finish()

    # -- too much at once ------------------------------------------------------------------------------

    def decode(self, data: bytes) -> list[Item]:
        """Take bytes apart into messages and control frames."""
        return self._frames.feed(data)

    def take_turn(self) -> None:
        """Handle some of what has been read; the answers leave in one write."""
        assert self._backlog is not None
        flush = not self._dirty
        self._dirty = True
        try:
            for items, size in self._backlog.pieces():
                if not self._ending:
                    self._handle_items(items, size)
        except BaseException:  # no fault of a handler; nobody would go on
            self._backlog = None
            self._transport.abort()
            raise
        self._end_turn(flush)

    def _fall_behind(self) -> Backlog:
        """Read no more until what has been read is handled, so that the other devices have their turn in between."""
        backlog = Backlog(self, self.host)
        if not self.lane.is_reading:  # it has paused the reading, and one more read was on its way
            backlog.hold()
        else:
            self._transport.pause_reading()
        return backlog

    def caught_up(self) -> None:
        """Read again, as all that was read is handled."""
        self._backlog = None
        # Not within the callback of a read: libuv would read on at once, 32 times, and nobody else had a turn.
        self.host.loop.call_soon(self._read_again)

    def _read_again(self) -> None:
        if self._backlog is None and self.lane.is_reading and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause_reading(self) -> None:
        """Read no more, as the lane is full."""
        if self._backlog is None:
            self._transport.pause_reading()
        else:
            self._backlog.hold()

    def resume_reading(self) -> None:
        """Read again, as the lane has room."""
        if self._backlog is None:
            self._transport.resume_reading()
        else:
            self._backlog.release()

    # -- the usual turn --------------------------------------------------------------------------------

    def _answer(self) -> None:
        """Do what `flush` does, for the usual turn: it had one answer and nothing else to write.

        Without the lock: what another thread adds from now on is behind our answer, and has its own flush. If it was
        quicker, it has taken our answer to the buffer already, see `_collect`.
        """
        self._dirty = False
        if self.buffer.frames:
            self.flush()
            return
        try:
            frame = self._replies.pop()
        except IndexError:
            self.flush()
            return
        self._n_answers += 1
        if not self._lost:
            self._transport.write(frame)

    @property
    def counters(self) -> dict[str, int]:
        """See `Connection.counters`."""
        return {**super().counters, "sent": self.n_sent + self._n_answers}

    def _go_on(self, items: list[Item], index: int) -> None:
        """Handle what one read brought, from an item on that `_turn` has left."""
        while index != len(items):
            with self._lock:
                self._collect()
            self._take_rare([items[index]])
            index = self._take_turn(items, index + 1)

    def _take_rare(self, items: list[Item]) -> None:
        """Handle packets on the general path: decode in the session, and `handle` each event."""
        for event in self.take(items):
            self.handle(event)

    def _take_turn(self, items: list[Item], index: int) -> int:
        """Call `_turn`: in the context, unless a worker may be in there, or tasks do the work."""
        if self.lane.is_idle and not self.host.makes_tasks:
            return self.context.run(self._turn, items, index, True)
        return self._turn(items, index, False)

    def _turn(self, items: list[Item], index: int, may_run: bool) -> int:
        """Handle packets for handlers of the type. This is the hottest path; all that is rare is left to others.

        Args:
            items: what one read brought.
            index: of the first one to handle.
            may_run: whether this is in the connection's context, and no other user code of the device in its turn.

        Returns:
            The index of the first item that is something else, or their number.
        """
        assert self._routes is not None
        routes, client, most = self._routes, self.client, self.session.options.max_payload
        assert client is not None
        declared = client.declared
        name_at = self._name_at
        host = self.host
        loop, replies, tells_updates = host.loop, self._replies, self.manager.callbacks.tells_updates
        calls: list[Call] = []  # for a worker
        weight = 0  # bytes of answers
        me = host.first_step
        task = me.task
        previous = enter(task, loop)
        seen_by = references(task)
        try:
            for index in range(index, len(items)):  # noqa: B020  # it goes on from there
                item = items[index]
                if type(item) is not bytes or len(item) < name_at + 4 or self.gone is not None:
                    return index
                packet = item
                end = name_at + (packet[name_at - 2] << 8 | packet[name_at - 1])
                size = len(packet) - end - 4
                route = routes.get(packet[:end])
                if (
                    route is None
                    or (declared and route.event in declared)  # its twin hears of it, too
                    or size < 0
                    or size > most
                    or packet[end]  # 16 MiB and more may go the long way
                    or size != packet[end + 1] << 16 | packet[end + 2] << 8 | packet[end + 3]
                ):
                    return index
                function = route.function
                try:
                    value: Any
                    if route.kind == 3:
                        value = packet[end + 4 :].decode("utf-8")
                    elif size > LARGE and route.kind == 4 and (size > AT_ONCE or not (may_run and route.is_async)):
                        value = Unread(packet[end + 4 :], read_json_in_pieces)  # it waits, and so do its objects
                        function = reading_and_writing(self, function, value, is_async=route.is_async)
                    elif route.kind < v2.FLOAT:
                        value = decode_value(route.kind, packet[end + 4 :])
                    else:
                        value = v2.decode_value(route.kind, packet[end + 4 :])
                except (UnicodeDecodeError, InvalidPacket):
                    return index
                self.n_received += 1
                if not route.is_async:
                    calls.append((route.event, function, (value, client), route.reply_head))
                    continue
                if calls:
                    self._push(calls, items, index)
                    calls, may_run = [], False
                if not may_run:
                    call = (route.event, function, (value, client), None)
                    self.lane.push(Step(Kind.EVENT, [call], is_async=True, size=len(packet)))
                    continue
                try:
                    done = finishes(me, function(value, client))
                except BaseException as error:
                    if not isinstance(error, asyncio.CancelledError):
                        self.handler_context.log_failure(route.event, error)
                    task.end(None, error)
                    me = host.first_step = change(me, loop)  # it may be kept with the error
                    task = me.task
                    seen_by = references(task)
                    continue
                if not done:
                    self.lane.wait_for(route.event, Kind.EVENT, task.start(self.context))
                    me = host.first_step = change(me, loop)
                    task = me.task
                    seen_by = references(task)
                    host.look_for_factory()
                    may_run = False
                    continue
                result, me.result = me.result, None
                looked_at = references(task) != seen_by
                if looked_at and task.cancelling():
                    result = None
                if result is not None:
                    runs_code = tells_updates  # which may look at the task, too: `on_update`, or a filter of the log
                    unchecked = not declared or route.event not in declared
                    frame = string_frame(route.reply_head, result) if unchecked else None  # `answer` checks
                    if frame is None:
                        self.answer(route.event, None, result)
                        runs_code = True
                    elif self.gone is None:  # the handler may have closed it
                        weight += len(frame)
                        sent = weight <= host.max_outbox
                        if sent:
                            replies.append(frame)
                        else:  # too much for one turn
                            sent = not self.send(frame)
                            runs_code = True
                        if sent and tells_updates:
                            self.manager.log_update(self.name, route.event, result)
                    if runs_code:
                        looked_at = looked_at or references(task) != seen_by
                if looked_at:  # the next one gets its own
                    task.end(result)
                    me = host.first_step = change(me, loop)
                    task = me.task
                    seen_by = references(task)
            index = len(items)
            return index
        finally:
            leave(task, loop, previous)
            if calls:
                self._push(calls, items, index)

    def _push(self, calls: list[Call], items: list[Item], end: int) -> None:
        """Have `def` handlers run, for the packets before `end`."""
        packets: list[Any] = items[end - len(calls) : end]
        size = sum(map(len, packets))
        self.lane.push(Step(Kind.EVENT, calls, is_async=False, size=size))

    def _collect(self) -> None:
        """Put the answers of this turn into the buffer; the lock is held. Whatever else is written comes behind them.

        Only the loop's thread adds to them, without the lock; only who holds it takes from them.
        """
        count = len(self._replies)
        frames = self._replies[:count]
        del self._replies[:count]
        if self.session.state is _OPEN:  # nothing may follow a CLOSE frame
            self.n_sent += count
            self.buffer.frames += frames
            self.buffer.size += sum(map(len, frames))

    def send(self, frame: bytes) -> str:
        """See `Connection.send`: the same for the usual case, a device that reads."""
        if self._writing_paused or self.buffer.size + len(frame) > self.host.max_outbox:
            return Connection.send(self, frame)  # Cython has no `super` here
        lock = self._lock
        lock.acquire()  # not `with`: this is a hot path
        try:
            if self.gone is not None:
                return "offline"
            if self._replies:
                self._collect()
            self.n_sent += 1
            self.buffer.push(frame)
            if self._dirty:
                return ""
            self._dirty = True
        finally:
            lock.release()
        self.host.flush_later(self)
        return ""

    def stream_ended(self) -> None:
        """Take the end of the peer's half of the stream. What the peer has sent is still handled, and answered."""
        if self._backlog is not None:
            self._backlog.then(self.stream_ended)
            return
        self._peer_ended = True
        if self._ending:
            self._transport.close()
            return
        if self.session.version == 2:
            calls = self.calls
            with self._lock:
                calls.end(DisconnectReason.TRANSPORT_CLOSED)
        self.lane.push(Step.of(Kind.INTERNAL, "", self._take_end))
        self.manager.lifecycle.limit_handlers(self)

    def _take_end(self) -> None:
        if not self.over:
            self.feed(b"")
            self._finish()

    def ended(self, reason: DisconnectReason | None = None) -> None:
        """Take the end of the transport.

        Args:
            reason: why it has ended, if that is known and nothing has ended the connection before.
        """
        if self._backlog is not None and not self._ending:
            self._lost = True  # nothing can be written any more
            self._backlog.then(partial(self.ended, reason))
            return
        if reason is not None:
            with self._lock:
                self._let_go(reason)
        if not self.over:
            self.feed(b"")
        self._ending = self._lost = True
        if self._linger is not None:
            self._linger.cancel()  # it would keep all this in memory for its time
        self.tear_down()
        self.teardown_done.add_callback(partial(self.manager.connections.detach, self))

    def pause_writing(self) -> None:
        """Write no more for now: the transport's buffer is over its high-water mark."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Write on: the transport's buffer has drained."""
        self._writing_paused = False
        self.flush()

    # -- transport for the core ------------------------------------------------------------------------

    def _close(self, reason: DisconnectReason) -> None:
        self._collect()  # what was answered before
        super()._close(reason)

    def write(self, data: bytes) -> None:
        if self._replies:
            self._collect()
        self.buffer.push(data)
        if not self._dirty:
            self._dirty = True
            self.host.flush_later(self)

    def pending(self) -> int:
        return self.buffer.size + self._unsent() if self._writing_paused and not self._lost else self.buffer.size

    def _unsent(self) -> int:
        while True:
            try:
                return self._transport.get_write_buffer_size()
            except RuntimeError:  # from 3.12 on it counts a deque, which the loop's thread has changed just now
                continue

    def hang_up(self) -> None:
        self.host.call_later(self._hang_up)

    def abort(self) -> None:
        self.buffer.clear()
        self.host.call_later(self._transport.abort)

    def _hang_up(self) -> None:
        self.flush(whole=True)  # the CLOSE frame
        self._ending = True
        if self._writing_paused:
            self._transport.abort()
        else:
            self._transport.close()
            self._abort_later()

    def flush(self, *, whole: bool = False) -> None:
        """Give the transport what has been collected, unless its buffer is full.

        Args:
            whole: give it all the same: it is the last.
        """
        lock = self._lock
        lock.acquire()  # as above
        try:
            self._dirty = False
            if self._replies:
                self._collect()
            out = self.buffer
            frames = out.frames
            if not frames or (self._writing_paused and not whole):
                return
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            frames.clear()
            out.size = 0
        finally:
            lock.release()
        if not self._ending and not self._lost:
            self._transport.write(data)

    def run_async(self, coroutine: Any, context: Context) -> Any:
        """For a `def` handler that returned an awaitable: it runs on the loop, the worker waits."""
        outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def begin() -> None:
            tasks = self.host.tasks
            task = create_task(self.host.loop, coroutine, context)
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            task.add_done_callback(lambda task: _settle(outcome, task))

        if self.host.is_current:
            coroutine.close()
            raise RuntimeError("the loop's own thread cannot wait for an async def handler")

        self.host.call_later(begin)
        return outcome.result()

    def _finish(self) -> None:
        """Send our end behind the CLOSE frame, and give the peer a moment for its own."""
        self.flush(whole=True)
        self._ending = True
        if self._lost:  # while its backlog was handled
            pass
        elif self._peer_ended or not self._transport.can_write_eof():
            self._transport.close()
        else:
            self._transport.write_eof()
            self._abort_later()
        self.tear_down()

    def _abort_later(self) -> None:
        if self._linger is None and not self._lost:
            self._linger = self.host.loop.call_later(LINGER, self._transport.abort)

    # -- for the core ----------------------------------------------------------------------------------

    def tear_down(self) -> None:
        """See `Connection.tear_down`. Another thread waits a moment for the loop, which may be about to end."""
        super().tear_down()
        if not self.host.is_current and not self.host.loop.is_closed():
            wait(self.teardown_done, _TEARDOWN)

    def answer_awaited(self) -> None:
        self.lane.answer_awaited()

    # -- for the lane ----------------------------------------------------------------------------------

    @property
    def awaited(self) -> int:
        """Bytes that may be read for the answers that calls wait for, although the lane is full; 0 if none does."""
        return self.session.options.max_payload if self._calls else 0

    def fail_calls(self, why: str) -> None:
        """Fail the calls that wait for their answers."""
        calls = self.calls
        with self._lock:
            calls.fail(why)

    def begin_user_code(self) -> HandlerContext:
        """Make what user code runs in, before the first of it runs: many a device is silent for ever."""
        assert self.handlers is not None
        version = self.session.plain
        if version:
            self._name_at = version + 2  # behind the type, the flags of v2, and the length of the name
            self._routes = self.handlers.routes[version]
        return self.handler_context


def _settle(outcome: concurrent.futures.Future[Any], task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        outcome.set_exception(RuntimeError("the handler was cancelled"))
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())

"""A TCP proxy that loses what it should pass on: a cable that is cut, as far as a device and a server can tell."""

from __future__ import annotations

import asyncio
from functools import partial
from types import TracebackType
from typing import Self

__all__ = ["FaultProxy"]


class _End(asyncio.Protocol):
    """One of the two streams of a cable."""

    def __init__(self, cable: _Cable) -> None:
        self.cable = cable
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None
        self.early: list[bytes] = []  # what came before the other end was there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.cable.made(self)

    def data_received(self, data: bytes) -> None:
        if self.cable.is_cut:
            return
        if self.other is None or self.other.transport is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        if not self.cable.is_cut and self.other is not None and self.other.transport is not None:
            self.other.transport.close()
        return self.cable.is_cut  # a cut cable keeps both its ends

    def connection_lost(self, error: Exception | None) -> None:
        if not self.cable.is_cut and self.other is not None and self.other.transport is not None:
            self.other.transport.abort()


class _Cable:
    """A connection to the proxy and the one that it made for it."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.is_cut = False
        self.device = _End(self)
        self.server = _End(self)

    def made(self, end: _End) -> None:
        if end is self.device:
            self.proxy._connect(self)
            return
        self.device.other, self.server.other = self.server, self.device
        assert end.transport is not None
        for data in self.device.early:
            end.transport.write(data)

    def address(self) -> object:
        assert self.device.transport is not None
        return self.device.transport.get_extra_info("peername")

    def close(self) -> None:
        for end in (self.device, self.server):
            if end.transport is not None:
                end.transport.abort()


class FaultProxy:
    """Passes on everything between its port and another, until a cable is cut.

        async with FaultProxy(server.port) as proxy:
            ...                                  # connect to proxy.port
            proxy.cut(sockname)                  # by the device's own address; or cut() for all

    Args:
        target: port of the server, on this machine.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._cables: list[_Cable] = []
        self._connecting: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for cable in self._cables:
            cable.close()
        await self._server.wait_closed()
        await asyncio.gather(*self._connecting, return_exceptions=True)

    def cut(self, address: object = None) -> None:
        """From now on nothing passes, in neither direction; neither end is told, both sockets stay open.

        Args:
            address: of the device's end, as its `getsockname` has it; None for all.
        """
        for cable in self._cables:
            if address in (None, cable.address()):
                cable.is_cut = True
                for end in (cable.device, cable.server):
                    if end.transport is not None and not end.transport.is_closing():
                        end.transport.pause_reading()

    def _accept(self) -> _End:
        cable = _Cable(self)
        self._cables.append(cable)
        return cable.device

    def _connect(self, cable: _Cable) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.create_connection(partial(_itself, cable.server), "127.0.0.1", self._target))
        self._connecting.add(task)  # the loop itself would let it be collected
        task.add_done_callback(self._connecting.discard)


def _itself(end: _End) -> _End:
    return end

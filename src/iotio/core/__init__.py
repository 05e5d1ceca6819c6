"""Devices, rooms, dispatch and delivery. Knows no web framework and no transport.

The order of locks. A lock is named by the class that makes it. While it is held, those behind its arrow may be taken,
and those that these lead to; no other::

    DurableQueue    -> OutgoingQueue, IncomingStream
    OutgoingQueue   -> Connection
    Connection      -> Registry, LoopThread
    Registry        -> DurableMessages, PresenceNotifier
    DurableMessages -> StoreWriter
    Connections     -> Admission
    Delivery        -> Signal

Delivery, LogThrottle, Takeovers, Signal, and what a callback of a Signal takes to wake a greenlet (wait_in_greenlet)
may be taken while any other lock is held. No lock is held while user code runs or anything is waited for. Callbacks of
a Signal run without its lock; one that does more than wake is set without any.
"""

"""Devices, rooms, dispatch and delivery. Knows no web framework and no transport.

The way of a message; docs/architecture.md follows it from function to function::

    bytes of a device                                  the program: emit
        |                                                  |
    host               reads                           manager, handles  check the arguments: target
        |                                                  |
    connection         its session: bytes to events    emitter           registry: which devices
        |                                                  |
        +- gate        a v1 device, by its request         +- durable.messages, durable.outgoing
        |                                                  |  storage.writer: sent when it is written
    dispatch           event to step                   broadcast         encodes once for each wire
        |                                                  |
        +- gate        a v0 or v2 device, by its greeting  |
        +- durable.taking, durable.incoming            connection        its session: values to frames
        |                                                  |
    lane               one step at a time              write_buffer      what the network has not taken
        |                                                  |
    handler_context    runs the handler                host              writes
        |
    connection.answer  sends what the handler returns

Who owns what:

- connections: all sockets, totals, refusals, the phase of the shutdown; limits: how many may come, and send how much
- connection: one socket, its session and lock, and why no emit reaches the device any more; write_buffer: its frames
- gate: which checks a device passes; lifecycle: the order of letting in, takeover and teardown
- lane, inline_lane (and hosts.native.lane): the steps of a device that run and wait; handler_context: what they run in
- registry: the connection of each id, the devices with what lasts of them, the rooms; directory: how programs find them
- remembered: what the known devices take, and who is forgotten first
- presence: who is there, and deadlines of grace; presence_notifier: the changes that on_presence has not heard of
- handles: the objects that a program holds of a device; storage.records: the form of what lasts
- endpoint_check: whether a device takes a value; its declarations, each equal one once in memory
- device_type, handlers: the types and their handlers; callbacks: those of the whole server
- background: what the program does beside its devices, and when it is due
- calls: calls to a device that are on their way; answers: calls of a device
- durable.messages: the queues of all devices; durable.outgoing: numbers and states of messages to one device;
  durable.incoming: how far the stream of one device is taken
- storage.recorder: the devices to be written; storage.batch: the next commit; storage.writer: the thread that commits
- ports: what parts ask of parts above them; manager: no fact of its own, it puts the parts together

The order of locks. A lock is named by the class that makes it. While it is held, those behind its arrow may be taken,
and those that these lead to; no other::

    DurableQueue    -> OutgoingQueue, IncomingStream
    OutgoingQueue   -> Connection
    Connection      -> Registry, LoopThread
    Registry        -> DurableMessages, PresenceNotifier
    DurableMessages -> StoreWriter
    Connections     -> Admission
    Delivery        -> Signal

Delivery, LogThrottle, Takeovers (connections), Signal (primitives), and what a callback of a Signal takes to wake a
greenlet (wait_in_greenlet) may be taken while any other lock is held. No lock is held while user code runs or anything
is waited for. Callbacks of a Signal run without its lock; one that does more than wake is set without any.
"""

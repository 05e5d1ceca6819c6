"""Durable messages: kept for each device until it has them, sent in order, and handled once.

`messages` has the queues of all devices, `queue` the two streams of one device (`outgoing`, `incoming`), `delivery` one
message.
"""

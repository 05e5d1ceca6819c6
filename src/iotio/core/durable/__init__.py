"""Durable messages: kept for each device until it has them, sent in order, and handled once.

`messages` holds the queues of all devices, `queue` the two streams of one device, `delivery` one message.
"""

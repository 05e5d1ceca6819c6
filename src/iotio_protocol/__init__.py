"""Bytes to packets and back: no clock, socket, thread, loop or randomness; time is an argument."""

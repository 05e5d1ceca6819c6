"""Devices, rooms, dispatch and delivery. Knows no web framework and no transport."""

# C types for connections.py.

from iotio.core.pending cimport PendingSockets

cdef class Connections:
    cdef public object admission
    cdef public PendingSockets pending
    cdef public bint has_served
    cdef public object _options, _throttle, _takeovers, _lock
    cdef public set _all
    cdef public list _unswept
    cdef public object _totals, _refusals, _closed
    cdef public Py_ssize_t _held_back, _shutdowns

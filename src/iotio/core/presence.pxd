# C types for presence.py.

from iotio.core.registry cimport Registry
from iotio.core.remembered cimport Remembered

cdef class PresenceMonitor:
    cdef public object recorder
    cdef public Remembered remembered
    cdef public object _server, _notifier, _numbers
    cdef public Registry _registry
    cdef public dict _absent
    cdef public list _deadlines, _dropped
    cdef public bint _paused

    cpdef object admit(self, object client)
    cpdef bint _record_transition(self, object device, object transition)

# C types of what is used for every read; the other attributes live in the dictionary.

from iotio.hosts.native.stand_in cimport FirstStep
from iotio.hosts.native.workers cimport Workers

cdef class NativeHost:
    cdef dict __dict__
    cdef object __weakref__
    cdef public object manager, loop, clock, _dirty, _ended
    cdef public FirstStep first_step
    cdef public Py_ssize_t max_outbox
    cdef public Workers workers
    cdef public bint makes_tasks
    cdef bint _awake

    cpdef flush_later(self, connection)
    cdef _wake(self)

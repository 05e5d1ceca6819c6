# C types for lock.pyx.

cdef extern from "pythread.h":
    ctypedef void *PyThread_type_lock

cdef class Lock:
    cdef PyThread_type_lock _lock

    cpdef bint acquire(self) except -1
    cpdef release(self)

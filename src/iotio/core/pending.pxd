# C types for pending.py.

cdef class PendingSockets:
    cdef public Py_ssize_t most
    cdef public object _clock, _is_exempt, _lock
    cdef public dict _places, _addresses

    cpdef bint enter(self, object socket, object address, object drop)
    cpdef object leave(self, object socket)
    cpdef object _remove(self, object socket)

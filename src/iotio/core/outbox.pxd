# C types for outbox.py.

cdef class Outbox:
    cdef public list frames
    cdef public bint begun
    cdef public Py_ssize_t size

    cpdef push(self, bytes frame)

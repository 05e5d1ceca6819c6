# C types for write_buffer.py.

cdef class WriteBuffer:
    cdef public list frames
    cdef public bint begun
    cdef public Py_ssize_t size

    cpdef push(self, bytes frame)

# C types for frames.py.

cimport cython

cdef class FrameDecoder:
    cdef Py_ssize_t _max
    cdef Py_ssize_t _max_message
    cdef bytes _buffer
    cdef bytearray _long
    cdef Py_ssize_t _need
    cdef int _opcode
    cdef bytearray _parts
    cdef object _utf8
    cdef bint _done
    cdef readonly Py_ssize_t n_fragments

    @cython.locals(
        items=list, size=Py_ssize_t, limit=Py_ssize_t, plain=bint, position=Py_ssize_t, need=Py_ssize_t, first=int,
        length=Py_ssize_t, whole=bint, start=Py_ssize_t, width=Py_ssize_t, end=Py_ssize_t, payload=bytes,
    )
    cpdef list feed(self, bytes data)
    cdef _hold(self, bytes data, Py_ssize_t position, Py_ssize_t need)
    cdef bint _take(self, int first, bytes payload, list items) except -1
    cdef bint _take_data(self, int opcode, bint final, bytes payload, list items) except -1
    cpdef use_max_message(self)
    cdef list _too_big(self, list items)
    cdef list _fail(self, list items, int code, str reason)

@cython.locals(size=Py_ssize_t)
cpdef bytes encode_frame(int opcode, bytes payload)

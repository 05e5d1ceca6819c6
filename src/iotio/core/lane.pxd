# C types for lane.py.

cdef class Step:
    cdef public object kind
    cdef public list calls
    cdef public bint is_async
    cdef public Py_ssize_t size

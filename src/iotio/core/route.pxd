# C types for route.py.

cdef class Route:
    cdef public str event
    cdef public object function
    cdef public bint is_async
    cdef public int kind
    cdef public bytes reply_head

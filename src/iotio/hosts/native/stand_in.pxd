# C types for stand_in.py.

cdef class StandIn:
    cdef public object task, work, result
    cdef public list cancels

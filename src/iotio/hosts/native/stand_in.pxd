# C types for stand_in.py.

cdef class FirstStep:
    cdef public object task, work, result

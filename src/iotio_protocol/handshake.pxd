# C types for handshake.py.

cimport cython

@cython.locals(found=dict, name=str, value=str, lower=str)
cpdef dict device_headers(object headers)
cpdef Py_ssize_t size_of(str text)
@cython.locals(size=Py_ssize_t)
cpdef object parse_headers(dict headers, object options=*)

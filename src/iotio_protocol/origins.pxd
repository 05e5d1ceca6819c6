# C types for origins.py.

cimport cython

@cython.locals(found=dict, name=str, lower=str)
cpdef object foreign(object headers, object options, bint by_program=*)
cpdef bint is_by_browser(object headers)

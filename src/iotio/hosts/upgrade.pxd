# C types for upgrade.py.

cimport cython

@cython.locals(lines=list, line=str, name=str, value=str, headers=dict, path=str)
cpdef object read_usual(bytes data)

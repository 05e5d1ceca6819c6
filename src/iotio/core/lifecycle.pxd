# C types for lifecycle.py.

from iotio.core.connection cimport Connection
from iotio.core.registry cimport Registry

cdef class Lifecycle:
    cdef public object _server
    cdef public Registry _registry

    cpdef object let_in(self, Connection connection)
    cpdef object _take_place(self, Connection connection)
    cpdef object _greet(self, Connection connection, bint replaces)
    cpdef list _presence_steps(self, object kind, Connection connection)

# C types for gate.py.

from iotio.core.connection cimport Connection
from iotio.core.connections cimport Connections
from iotio.core.presence cimport PresenceMonitor
from iotio.core.registry cimport Registry

cdef class Gate:
    cdef public object _server, _types
    cdef public tuple _upgrade_checks
    cdef public Connections _connections
    cdef public Registry _registry
    cdef public PresenceMonitor _presence

    cpdef object open(self, Connection connection, object upgrade)
    cpdef object introduce(self, Connection connection, object hello)

# C types for broadcast.py.

cimport cython
from iotio.core.connection cimport Connection

@cython.locals(
    frames=dict, sent=list, offline=list, dropped=dict, wire=str, connection=Connection, problem=str,
)
cpdef tuple broadcast(list audience, str event, object data)

# C types for session.py.

cimport cython
from iotio_protocol.frames cimport FrameDecoder

cdef class Session:
    cdef public int version
    cdef public FrameDecoder frames
    cdef public object options, state, rtt
    cdef public str wire
    cdef public double last_received
    cdef public object _codec, _decode, _ping_sent, _reason
    cdef public list _out, _probes
    cdef public double _since
    cdef public int _pings, close_code
    cdef public long long max_payload
    cdef public bint _ended, keeps_alive

@cython.locals(text=str, body=bytes, size=Py_ssize_t, whole=Py_ssize_t)
cpdef bytes string_frame(bytes head, object value)

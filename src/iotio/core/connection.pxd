# C types of what the hot paths touch; the other attributes live in the dictionary.

cimport cython
from iotio.core.handler_context cimport HandlerContext
from iotio.core.write_buffer cimport WriteBuffer
from iotio_protocol.session cimport Session, string_frame

cdef class Connection:
    cdef dict __dict__
    cdef object __weakref__
    cdef public Session session
    cdef public WriteBuffer buffer
    cdef public object manager, client, gone, context, _lock
    cdef public HandlerContext _handler_context
    cdef public Py_ssize_t n_received, n_sent

    cpdef str send(self, bytes frame)
    @cython.locals(frame=bytes)
    cpdef answer(self, str event, bytes reply_head, object result)

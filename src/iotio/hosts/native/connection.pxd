# C types for connection.py. All else about a connection lives in its dictionary, as in Python.

cimport cython
from iotio.core.connection cimport Connection
from iotio.core.handler_context cimport HandlerContext
from iotio.core.lock cimport Lock
from iotio.core.write_buffer cimport WriteBuffer
from iotio.core.route cimport Route
from iotio_protocol.frames cimport FrameDecoder
from iotio.hosts.native.host cimport NativeHost
from iotio_protocol.session cimport string_frame
from iotio.hosts.native.stand_in cimport StandIn
from iotio.hosts.native.eager cimport change, enter, leave
from iotio.hosts.native.first_step cimport finishes
from iotio.core.lane cimport Step
from iotio.hosts.native.workers cimport Job, Workers

cdef class NativeConnection(Connection):
    cdef public NativeHost _host
    cdef public object _transport, _lane, _routes
    cdef public WriteBuffer _out
    cdef public list _replies
    cdef public FrameDecoder _frames
    cdef public Py_ssize_t _n_answers, _name_at
    cdef public bint _dirty, _writing_paused, _held, _ending, _peer_ended, _lost, _reading_paused
    cdef public Py_ssize_t _waiting, _running, _on_worker

    @cython.locals(items=list, flush=bint, done=Py_ssize_t)
    cpdef received(self, bytes data)
    cdef _answer(self)
    @cython.locals(
        routes=dict, most=Py_ssize_t, replies=list, tells_updates=bint, done=bint, calls=list, weight=Py_ssize_t,
        me=StandIn, host=NativeHost, seen_by=Py_ssize_t, packet=bytes, route=Route, end=Py_ssize_t, size=Py_ssize_t,
        name_at=Py_ssize_t, frame=bytes,
    )
    cpdef Py_ssize_t _turn(self, list items, Py_ssize_t index, bint may_run) except -1
    cdef _collect(self)
    @cython.locals(lock=Lock)
    cpdef str send(self, bytes frame)
    @cython.locals(lock=Lock, out=WriteBuffer, frames=list, data=bytes)
    cpdef flush(self, bint whole=*)
    cpdef list _hand_over(self, list calls)
    cpdef _do(self, Step step)
    cpdef bint _may_begin(self, Step step) except -1
    cpdef _begin(self, Step step)
    @cython.locals(is_event=bint, frame=bytes, handler_context=HandlerContext)
    cpdef _work(self, Step step, number, context)
    cpdef _worked(self, number, Py_ssize_t count)
    @cython.locals(step=Step)
    cpdef _pump(self)

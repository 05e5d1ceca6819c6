# C types for connection.py. All else about a connection lives in its dictionary, as in Python.

cimport cython
from libc.stdint cimport int64_t
from iotio.core.connection cimport Connection
from iotio.core.lock cimport Lock
from iotio.core.write_buffer cimport WriteBuffer
from iotio.core.route cimport Route
from iotio_protocol.frames cimport FrameDecoder
from iotio.hosts.native.host cimport NativeHost
from iotio.hosts.native.lane cimport LoopLane
from iotio_protocol.session cimport string_frame
from iotio.hosts.native.stand_in cimport FirstStep
from iotio.hosts.native.eager cimport change, enter, leave
from iotio.hosts.native.first_step cimport finishes, references
from iotio.core.lane cimport Step

cdef class NativeConnection(Connection):
    cdef public NativeHost host
    cdef public LoopLane lane
    cdef public object _transport, _routes, _backlog
    cdef public list _replies
    cdef public FrameDecoder _frames
    cdef public Py_ssize_t _n_answers, _name_at
    cdef public bint _dirty, _writing_paused, _ending, _peer_ended, _lost

    @cython.locals(items=list, flush=bint)
    cpdef received(self, bytes data)
    @cython.locals(done=Py_ssize_t)
    cdef _handle_items(self, list items, Py_ssize_t size)
    cdef _end_turn(self, bint flush)
    cdef _answer(self)
    cdef Py_ssize_t _take_turn(self, list items, Py_ssize_t index) except -1
    @cython.locals(
        routes=dict, most=Py_ssize_t, replies=list, tells_updates=bint, done=bint, calls=list, weight=Py_ssize_t,
        me=FirstStep, host=NativeHost, seen_by=int64_t, packet=bytes, route=Route, end=Py_ssize_t, size=Py_ssize_t,
        name_at=Py_ssize_t, frame=bytes, unchecked=bint, looked_at=bint, runs_code=bint, sent=bint,
    )
    cpdef Py_ssize_t _turn(self, list items, Py_ssize_t index, bint may_run) except -1
    cdef _push(self, list calls, list items, Py_ssize_t end)
    cdef _collect(self)
    @cython.locals(lock=Lock)
    cpdef str send(self, bytes frame)
    @cython.locals(lock=Lock, out=WriteBuffer, frames=list, data=bytes)
    cpdef flush(self, bint whole=*)

# C types for lane.py.

cimport cython
from iotio.core.handler_context cimport HandlerContext
from iotio.core.lane cimport Step
from iotio.hosts.native.host cimport NativeHost
from iotio.hosts.native.workers cimport Job, Workers

cdef class LoopLane:
    cdef public bint is_idle, is_full
    cdef public Py_ssize_t running
    cdef NativeHost _host
    cdef public object _steps
    cdef object _connection, _reading, _owner, _timer, _current_event, _current_since
    cdef double _begun_at
    cdef HandlerContext _handler_context
    cdef Py_ssize_t _waiting, _on_worker, _generation
    cdef public Py_ssize_t _size
    cdef public bint _drops_events
    cdef bint _held, _reads_on
    cdef object _limiter

    cpdef push(self, Step step)
    cdef bint _may_read_on(self) except -1
    cpdef wait_for(self, str event, object kind, object task)
    cdef _append(self, Step step)
    cdef bint _may_begin(self, Step step) except -1
    @cython.locals(context=HandlerContext, count=Py_ssize_t)
    cdef _begin(self, Step step)
    @cython.locals(handler_context=HandlerContext, is_event=bint)
    cpdef _work(self, Step step, Py_ssize_t generation, object context)
    cpdef _worked(self, Py_ssize_t generation, Py_ssize_t count, Py_ssize_t size)
    cdef _begin_async(self, Step step, HandlerContext context)
    cpdef _waited(self, str event, object kind, Py_ssize_t generation, object task)
    @cython.locals(step=Step, is_event=bint, drops=bint)
    cpdef _pump(self)

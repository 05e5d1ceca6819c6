# C types for handler_context.py.

cdef class HandlerContext:
    cdef public object context
    cdef public Py_ssize_t n_abandoned
    cdef object _client, _entered_in, _lock, _runner, _scope
    cdef bint _torn_down

    cpdef run_handler(self, str event, object function, tuple arguments, object context=*)

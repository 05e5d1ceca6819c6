"""first_step.py for the compiled native host: a coroutine that ends raises no StopIteration here."""

from cpython.object cimport PyObject
from iotio.hosts.native.stand_in cimport StandIn

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    PySendResult PyIter_Send(object, object, PyObject **) except? PYGEN_ERROR
    void Py_DECREF(PyObject *)


cpdef bint finishes(StandIn me, object work) except -1:
    cdef PyObject *out = NULL
    cdef PySendResult kind
    me.work = work
    kind = PyIter_Send(work, None, &out)
    me.result = <object>out
    Py_DECREF(out)
    return kind == PYGEN_RETURN

"""first_step.py for the compiled native host: a coroutine that ends raises no StopIteration here."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from iotio.hosts.native.stand_in cimport FirstStep

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    PySendResult PyIter_Send(object, object, PyObject **) except? PYGEN_ERROR
    void Py_DECREF(PyObject *)
    Py_ssize_t Py_REFCNT(object)

    ctypedef struct PyWeakReference:
        PyWeakReference *wr_next

    ctypedef struct PyTypeObject:
        Py_ssize_t tp_weaklistoffset

    PyTypeObject *Py_TYPE(object)


cpdef bint finishes(FirstStep me, object work) except -1:
    cdef PyObject *out = NULL
    cdef PySendResult kind
    me.work = work
    kind = PyIter_Send(work, None, &out)
    me.result = <object>out
    Py_DECREF(out)
    return kind == PYGEN_RETURN


cpdef int64_t references(object task) except -1:
    cdef Py_ssize_t offset = Py_TYPE(task).tp_weaklistoffset
    cdef PyWeakReference *reference = NULL
    cdef int64_t weak = 0
    if offset != 0:
        reference = (<PyWeakReference **>(<char *><PyObject *>task + offset))[0]
    while reference != NULL:
        weak += 1
        reference = reference.wr_next
    return Py_REFCNT(task) | weak << 32

"""A real lock, also in a program that gevent has monkey-patched; see primitives.py."""

cdef extern from "pythread.h":
    int NOWAIT_LOCK, WAIT_LOCK
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock)
    int PyThread_acquire_lock(PyThread_type_lock, int) nogil
    void PyThread_release_lock(PyThread_type_lock)


cdef class Lock:
    def __cinit__(self):
        self._lock = PyThread_allocate_lock()
        if self._lock == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self._lock != NULL:
            PyThread_free_lock(self._lock)

    cpdef bint acquire(self) except -1:
        if not PyThread_acquire_lock(self._lock, NOWAIT_LOCK):
            with nogil:  # whoever holds it may need the interpreter to go on
                PyThread_acquire_lock(self._lock, WAIT_LOCK)
        return True

    cpdef release(self):
        PyThread_release_lock(self._lock)

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *error):
        self.release()

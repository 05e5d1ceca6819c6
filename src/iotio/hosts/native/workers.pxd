# C types for workers.py.

cdef class Job:
    cdef public object owner, run, label, began

cdef class Workers:
    cdef public object _loop, _clock, _most, _slow, _throttle
    cdef public list _workers
    cdef public dict _homes, _batches
    cdef public bint _watching

    cpdef submit(self, Job job)
    cpdef done(self, object owner)

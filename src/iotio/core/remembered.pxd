# C types for remembered.py.

cdef class Remembered:
    cdef public object size, forgotten
    cdef public object _server, _registry, _queues, _numbers, _for_limit, _refused
    cdef public dict _away, _declarations
    cdef public list _strangers, _others
    cdef public set _set_aside
    cdef public object _free_size, _declared_size
    cdef public double _quiet_until

    cpdef object arrived(self, object device)
    cpdef object admit(self, object client)
    cpdef object make_room(self)
    cpdef str _make_room(self, object count, object size, object spared)
    cpdef object _no_longer_away(self, object device)
    cpdef object _count_anew(self, object device)
    cpdef object _discount(self, object device)
    cpdef object _add(self, object device, object size)

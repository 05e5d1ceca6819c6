# C types for registry.py.

cdef class Registry:
    cdef public object lock, listener
    cdef public dict _clients, _types, _devices
    cdef public object _rooms, _away

    cpdef object swap(self, object client)
    cpdef object get(self, object client_id)
    cpdef object find(self, object device_id)
    cpdef bint knows(self, object device)
    cpdef object _take_place(self, object client, object made)

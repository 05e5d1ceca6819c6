# C signatures of what a hot path calls.

cpdef bytes encode(object event, object value)
cpdef tuple encode_value(object value)
cdef tuple _encode_value(object value)

# C signatures for first_step.pyx.

from libc.stdint cimport int64_t
from iotio.hosts.native.stand_in cimport FirstStep

cpdef bint finishes(FirstStep me, object work) except -1
cpdef int64_t references(object task) except -1

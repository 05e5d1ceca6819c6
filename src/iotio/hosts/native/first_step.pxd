# C signature for first_step.pyx.

from iotio.hosts.native.stand_in cimport StandIn

cpdef bint finishes(StandIn me, object work) except -1

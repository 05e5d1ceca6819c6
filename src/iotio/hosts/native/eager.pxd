# C signatures of what the native host calls for every read.

from iotio.hosts.native.stand_in cimport StandIn

cpdef object enter(StandIn me, object loop)
cpdef object leave(StandIn me, object loop, object previous)
cpdef StandIn change(StandIn me, object loop)

# C signatures of what the native host calls for every read.

from iotio.hosts.native.stand_in cimport FirstStep

cpdef object enter(object task, object loop)
cpdef object leave(object task, object loop, object previous)
cpdef FirstStep change(FirstStep me, object loop)

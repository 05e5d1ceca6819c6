# C types for protocols.py: none. It is compiled, as each device that connects goes through it.

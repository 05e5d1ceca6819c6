# C types for gate.py: none. It is compiled, as each device that connects goes through it.

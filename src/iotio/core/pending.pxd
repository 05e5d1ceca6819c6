# C types for pending.py: none. It is compiled, as each device that connects goes through it.

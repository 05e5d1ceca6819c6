# C types for acceptor.py: none. It is compiled, as each device that connects goes through it.

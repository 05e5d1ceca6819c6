# C types for log_throttle.py: none. It is compiled, as each device that connects is a line or is counted.

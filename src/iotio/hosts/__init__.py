"""Everything that moves bytes and runs handlers. One module a host; `blocking` is what thread-like hosts share."""

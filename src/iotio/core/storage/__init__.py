"""The store, as the core sees it.

`contract` says what is kept there, `batch` holds what waits to be written, `writer` has the thread that writes it. The
implementations, SQLAlchemy and memory, are in `iotio.store`.
"""

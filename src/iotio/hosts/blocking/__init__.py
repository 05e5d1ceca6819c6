"""Hosts where a connection has a thread or a greenlet of its own: Flask, gunicorn with threads, gevent."""

"""Opens the store at the URL of the argument, tells its process id, and holds the store until a line comes.

With "fork" for a line it forks a child, which tells its process id and sleeps; with "slow", it gives the store back
after half a second.
"""

from __future__ import annotations

import os
import sys
import time

from iotio.store import open_store

store = open_store(sys.argv[1])
print("holds", os.getpid())
for line in sys.stdin:
    if line == "fork\n":
        if not os.fork():
            print("child", os.getpid())
            time.sleep(60)
            os._exit(0)
        continue
    if line == "slow\n":
        print("ends")
        time.sleep(0.5)
    store.close()
    break

"""The night of the greenhouse, for cron: it asks the server, which is another process, to switch everything off."""

from __future__ import annotations

import json
import os
import urllib.request

token = os.environ["GREENHOUSE_TOKEN"]
request = urllib.request.Request(
    "http://localhost:5000/night", method="POST", headers={"Authorization": f"Bearer {token}"}
)
with urllib.request.urlopen(request, timeout=10) as response:
    answer = json.load(response)
print("told to be off:", *answer["told"])
print("when they are back:", *answer["away"])

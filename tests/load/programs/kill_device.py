"""The device of test_kills.py: PORT FILE COUNT. It sends so many durable readings and notes every command.

What a command does is written in the transaction that notes it as handled, in the buffer's own file.
"""

from __future__ import annotations

import sqlite3
import sys
import threading

from iotio_client import Buffer, IoTClient

PORT, FILE, COUNT = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

with sqlite3.connect(FILE, timeout=30) as database:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE IF NOT EXISTS effect (place INTEGER PRIMARY KEY, value INTEGER NOT NULL)")
database.close()

buffer = Buffer(FILE, max_messages=COUNT)
client = IoTClient("d", "sensor", buffer=buffer)


@client.on("command")
def command(message: int) -> None:
    assert client.message is not None
    client.message.transaction(
        lambda connection: connection.execute("INSERT INTO effect (value) VALUES (?)", (message,))
    )


def read() -> None:
    """Send what is left; the number of a message in its stream is the reading."""
    for value in range(buffer.outgoing.counter + 1, COUNT + 1):
        client.send("reading", value, durable=True)


threading.Thread(target=read, daemon=True).start()
client.run(f"127.0.0.1:{PORT}", reconnect_delay=0.3)

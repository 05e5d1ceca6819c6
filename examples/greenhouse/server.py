"""A greenhouse of six devices: a page that shows who is there and the last values, buttons, an alert, a quiet night.

    GREENHOUSE_TOKEN=secret iotio run server.py
    python devices.py
    GREENHOUSE_TOKEN=secret python night.py

Then look at http://localhost:5000/. The server may be killed at any time: devices, rooms, presence and the messages
that wait are in greenhouse.db, the last values in values.db.
"""

from __future__ import annotations

import hmac
import os
import sqlite3
import time
from typing import Any

from flask import Flask, abort, redirect, render_template_string, request
from flask.typing import ResponseReturnValue

from iotio import CallError, DeviceHandle, DeviceType, DisconnectReason, IoTClient, IoTManager, Presence, PresenceReason

OPEN_TOO_LONG = 60  # seconds
QUIET = "off at night"  # a room
TOKEN = os.environ.get("GREENHOUSE_TOKEN", "")
BUTTONS: dict[
    str, tuple[str, str, Any, float | None]
] = {  # device, event, data, seconds until it is of no use any more
    "Lamp on": ("lamp", "switch", "on", 600),
    "Lamp off": ("lamp", "switch", "off", 600),
    "18 °C": ("thermostat", "target", 18, None),
    "24 °C": ("thermostat", "target", 24, None),
    "Water for 5 s": ("pump", "water", 5, 60),
}
PAGE = """<!doctype html>
<title>Greenhouse</title>
<meta http-equiv="refresh" content="3">
{% for door in alerts %}<p><b>The {{ door }} is open!</b></p>{% endfor %}
<table>
{% for device, values in devices %}
<tr><td>{{ device.id }}<td>{{ device.presence }}<td>{% for name, value in values %}{{ name }}: {{ value }} {% endfor %}
{% endfor %}
</table>
<form method="post" action="/press">
{% for text in buttons %}<button name="button" value="{{ text }}">{{ text }}</button>{% endfor %}
</form>
<form method="post" action="/measure"><button>Measure now</button></form>
"""

app = Flask(__name__)
manager = IoTManager(app, store="sqlite:///greenhouse.db")
# Each statement is a transaction of its own, so handlers in any thread may use it.
database = sqlite3.connect("values.db", check_same_thread=False, isolation_level=None)
database.execute("CREATE TABLE IF NOT EXISTS last (device, name, value, since REAL, PRIMARY KEY (device, name))")


class Thing(DeviceType):
    """A device whose events are values: the last one of each is kept, with the time since which it has been that."""

    def on_event(self, event: str, data: Any, client: IoTClient) -> None:
        # A durable message knows when it was, also if it comes later.
        when = client.message.time if client.message else None
        since = when.timestamp() if when else time.time()
        database.execute(
            "INSERT INTO last VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET value = excluded.value, since = excluded.since WHERE value IS NOT excluded.value",
            (client.id, event, data, since),
        )


class Quiet(Thing):
    """One that is off at night."""

    def on_connect(self, client: IoTClient) -> None:
        client.join(QUIET)


for name in ("thermostat", "sensor", "door", "meter"):
    manager.add_type(Thing(name))
for name in ("lamp", "pump"):
    manager.add_type(Quiet(name))


@manager.event
def on_presence(device: DeviceHandle, old: Presence, new: Presence, reason: DisconnectReason | PresenceReason) -> None:
    print(f"{device.id} is {new}: {reason}")


def open_doors() -> list[str]:
    """Return the doors that have been open for too long."""
    query = "SELECT device FROM last WHERE name = 'door' AND value = 'open' AND since < ?"
    return [device for (device,) in database.execute(query, (time.time() - OPEN_TOO_LONG,))]


@manager.every(10)
def warn() -> None:
    for door in open_doors():
        print(f"ALERT: the {door} is open")
        manager.emit("blink", 3, client_type="lamp")


@app.get("/")
def show() -> str:
    query = "SELECT name, value FROM last WHERE device = ?"
    devices = [(device, database.execute(query, (device.id,)).fetchall()) for device in manager.devices.values()]
    return render_template_string(PAGE, devices=devices, alerts=open_doors(), buttons=BUTTONS)


@app.post("/press")
def press() -> ResponseReturnValue:
    device, event, data, ttl = BUTTONS[request.form["button"]]
    # Of several that wait for a device that is away, it gets the last one only.
    result = manager.emit(event, data, to=device, durable=True, ttl=ttl, coalesce=event)
    return redirect("/") if result.deliveries else (f"{device}: {result.dropped[device]}", 503)


@app.post("/measure")
def measure() -> ResponseReturnValue:
    try:
        return f"{manager.call('thermostat', 'measure', timeout=2)} °C"
    except CallError as error:
        return str(error), 503


@app.post("/night")
def night() -> dict[str, Any]:
    """Do what night.py asks for, if it knows the token."""
    given = request.headers.get("Authorization", "")
    if not TOKEN or not hmac.compare_digest(given.encode(), f"Bearer {TOKEN}".encode()):
        abort(401)
    result = manager.emit("switch", "off", room=QUIET, durable=True, ttl=8 * 3600, coalesce="switch")
    manager.emit("target", 14, to="thermostat", durable=True, coalesce="target")
    return {"told": list(result.deliveries), "away": result.offline}

"""Calls in both directions: each waits for what the other side's handler returns.

Run it and examples/device_calls.py, then `curl http://localhost:PORT/temperature/hall`.
"""

from __future__ import annotations

from typing import Any

from flask import Flask

from iotio import CallDisconnected, CallError, CallTimeout, DeviceType, IoTClient, IoTManager

app = Flask(__name__)
manager = IoTManager(app)


class Thermostat(DeviceType):
    """A thermostat, which asks the server how warm it shall be."""

    def on_wanted(self, message: dict[str, Any], client: IoTClient) -> float:
        wanted = 16.0 if message["window_open"] else 21.5
        print(f"{client.id} is told {wanted}")
        return wanted  # the result of the device's call


manager.add_type(Thermostat("thermostat"))


@app.get("/temperature/<device_id>")
def show_temperature(device_id: str) -> tuple[dict[str, Any], int]:
    try:
        return {"celsius": manager.call(device_id, "measure", {"samples": 3}, timeout=2)}, 200
    except CallDisconnected:
        return {"error": "the device is not there"}, 503
    except CallTimeout:
        return {"error": "the device does not answer"}, 504
    except CallError as error:  # its handler raised, or it has none
        return {"error": str(error)}, 502


if __name__ == "__main__":
    manager.run(port=5000)

"""A server whose devices can be controlled over REST.

Run it and examples/device_endpoints.py, then:

    curl -H 'Content-Type: application/json' http://localhost:PORT/api/iot.io \\
        -d '{"clientId": "lamp_1", "endpointId": "brightness", "data": 70}'

PORT is the one at the end of this file. A value that the device has not declared is refused with the reason.
"""

from __future__ import annotations

from typing import Any

from flask import Flask
from gevent import pywsgi
from geventwebsocket.handler import WebSocketHandler

from iotio import DeviceType, IoTClient, IoTManager

app = Flask(__name__)
manager = IoTManager(app, endpoint_api=True)


class Lamp(DeviceType):
    """A lamp; what it can do it tells itself, in the declaration of its endpoints."""

    def on_connect(self, client: IoTClient) -> None:
        names = ", ".join(str(endpoint["name"]) for endpoint in client.endpoints)
        print(f"{client.id} connected and takes: {names}")


manager.add_type(Lamp("lamp"))


@manager.event
def on_update(client_id: str, event: str, data: Any) -> None:
    """Run for everything that was sent to a device."""
    print(f"{client_id}: {event} = {data!r}")


if __name__ == "__main__":
    pywsgi.WSGIServer(("", 5000), app, handler_class=WebSocketHandler).serve_forever()

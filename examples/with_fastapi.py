"""Devices in a FastAPI application, on one port.

Run it and examples/device_endpoints.py, then `curl -X POST http://localhost:PORT/lamps/lamp_1/brightness/70`. Another
server takes `manager.asgi`: `uvicorn with_fastapi:manager.asgi`.
"""

from __future__ import annotations

from fastapi import FastAPI, HTTPException

from iotio import CallDisconnected, CallError, DeviceType, InvalidData, IoTClient, IoTManager

app = FastAPI()
manager = IoTManager(app)


class Lamp(DeviceType):
    """A lamp; what it can do it tells itself."""

    async def on_connect(self, client: IoTClient) -> None:
        print(f"{client.id} connected")


manager.add_type(Lamp("lamp"))


@app.get("/lamps")
async def show_lamps() -> dict[str, str]:
    return {device.id: device.presence for device in manager.devices(type="lamp")}


@app.post("/lamps/{lamp_id}/brightness/{value}")
async def set_brightness(lamp_id: str, value: int) -> dict[str, int]:
    try:
        await manager.acall(lamp_id, "brightness", value, timeout=2)  # waits until the lamp has done it
    except InvalidData as error:
        raise HTTPException(422, str(error)) from error
    except CallDisconnected as error:
        raise HTTPException(503, str(error)) from error
    except CallError as error:
        raise HTTPException(502, str(error)) from error
    return {"brightness": value}


if __name__ == "__main__":
    manager.run(port=5000)

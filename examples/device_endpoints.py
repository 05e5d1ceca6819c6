"""A lamp with four endpoints, for examples/endpoint_api.py and examples/endpoint_api_with_auth.py."""

from __future__ import annotations

from iotio_client import EndpointConstraint, EndpointInfo, EndpointType, IoTClient

client = IoTClient("lamp_1", "lamp")


@client.on("power", EndpointInfo("Power", EndpointType.BOOLEAN))
def on_power(value: bool) -> None:
    print(f"power: {value}")


@client.on(
    "brightness",
    EndpointInfo("Brightness", EndpointType.INTEGER, constraints=EndpointConstraint(min_v=0, max_v=100, increment=10)),
)
def on_brightness(value: int) -> None:
    print(f"brightness: {value}")


@client.on("label", EndpointInfo("Label", EndpointType.STRING, constraints=EndpointConstraint(deny_list="<>")))
def on_label(value: str) -> None:
    print(f"label: {value}")


@client.on(
    "colour",
    EndpointInfo("Colour", EndpointType.ENUM, constraints=EndpointConstraint(values={"warm": "Warm", "cold": "Cold"})),
)
def on_colour(value: str) -> None:
    print(f"colour: {value}")


if __name__ == "__main__":
    client.run("localhost:5000", use_tls=False)

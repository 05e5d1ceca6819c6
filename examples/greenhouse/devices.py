"""The six devices of the greenhouse, in one program that needs no hardware.

Type `open` or `closed`, and the door is that; the end of the input (Ctrl-D) ends the program.
"""

from __future__ import annotations

import sys
import threading
import time

from iotio_client import IoTClient

SERVER = "localhost:5000"
NAP = 30.0  # seconds that the sensor in the soil sleeps between its readings
THERE, AWAY = 5.0, 3.0  # seconds; the Wi-Fi of the pump

thermostat = IoTClient("thermostat", "thermostat")
lamp = IoTClient("lamp", "lamp")
soil = IoTClient("soil", "sensor")
door = IoTClient("door", "door")
meter = IoTClient("meter", "meter")
pump = IoTClient("pump", "pump", protocol_version=1)  # an old one: it cannot say goodbye when its connection ends
now = {"celsius": 20.0, "target": 20.0, "watts": 3.0}


@thermostat.on("target")
def set_target(message: int) -> None:
    now["target"] = message
    print(f"thermostat: target {message}")


@thermostat.on("measure")
def measure(message: None) -> float:
    return now["celsius"]


@thermostat.every(2)
def control() -> None:
    now["celsius"] += (now["target"] - now["celsius"]) / 10
    thermostat.emit("celsius", round(now["celsius"], 1))


@lamp.on("switch")
def switch_lamp(message: str) -> tuple[str, str]:
    now["watts"] = 43 if message == "on" else 3
    print(f"lamp: {message}")
    return "lamp", message  # goes back under the event "lamp"


@lamp.on("blink")
def blink(message: int) -> None:
    print(f"lamp: blinks {message} times")


@meter.every(2)
def count_watts() -> None:
    meter.emit("watts", now["watts"])


@pump.on("water")
def water(message: int) -> None:
    print(f"pump: waters for {message} s")


@pump.on("switch")
def switch_pump(message: str) -> None:
    print(f"pump: {message}")


def sleep_and_measure() -> None:
    """Be the sensor in the soil: it is there for as long as a reading takes."""
    while True:
        with soil.start(SERVER):
            soil.emit("moisture", 0.42, durable=True)
            try:
                soil.flush(timeout=60)
            except TimeoutError:
                print("soil: no server; the reading goes with the next one")
            soil.sleep(NAP)
        time.sleep(NAP)


def come_and_go() -> None:
    """Be the pump, which loses its connection again and again."""
    while True:
        with pump.start(SERVER):
            time.sleep(THERE)
        time.sleep(AWAY)


if __name__ == "__main__":
    for one in (sleep_and_measure, come_and_go):
        threading.Thread(target=one, daemon=True).start()
    with thermostat.start(SERVER), lamp.start(SERVER), door.start(SERVER), meter.start(SERVER):
        for line in sys.stdin:
            door.emit("door", line.strip(), durable=True)  # also while the server is away

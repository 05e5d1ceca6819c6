"""Send an event to devices, at once or by their durable queues.

A device that is away gets nothing of a plain emit, and is named in the result's `offline`. A durable one is kept for
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iotio_protocol.errors import InvalidData, TooLarge
from iotio_protocol.session import Codec

from .broadcast import broadcast
from .callbacks import Callbacks
from .directory import Directory
from .durable.delivery import DeliveryState
from .durable.messages import DurableMessages
from .endpoint_check import Checks
from .handles import DeviceHandle, IoTClient
from .ports import HostLoop, Warnings
from .registry import Registry
from .results import EmitResult
from .storage.contract import StoreUnavailable
from .target import Outgoing, Target
from .waiting import loop_runs_here

__all__ = ["Emitter"]


class Emitter:
    """Emit events to the devices of one server. Every method may be called from any thread.

    Args:
        registry: finds connected devices.
        directory: finds devices, connected or away.
        durable_messages: keeps durable messages.
        callbacks: has the program's `on_update`.
        codec: of v1 packets; checks a value where no device is there to check it for.
        log_update: tells `on_update` of an event; a program may have overridden it.
        log_throttle: takes what is logged of devices that take less than they are sent.
        loops: those of the hosts, now.
    """

    def __init__(
        self,
        registry: Registry,
        directory: Directory,
        durable_messages: DurableMessages,
        callbacks: Callbacks,
        codec: Codec,
        log_update: Callable[[str, str, Any], None],
        log_throttle: Warnings,
        loops: Sequence[HostLoop],
    ) -> None:
        self._registry = registry
        self._directory = directory
        self._durable_messages = durable_messages
        self._callbacks = callbacks
        self._codec = codec
        self._log_update = log_update
        self._log_throttle = log_throttle
        self._loops = loops

    def emit(self, target: Target, outgoing: Outgoing) -> EmitResult:
        """Send an event to the devices of a target.

        Raises:
            StoreUnavailable: a durable message cannot be written to the store; it is not sent later. Of several
                devices, some may get it.
            EncodeError: no addressed device can be sent the value.
            InvalidData: one device is addressed, and its endpoint of that name does not take the value.
        """
        if outgoing.durable:
            return self._keep(target, outgoing)
        if target.client_ids is not None:
            return self._send_to(target.ids, outgoing)
        skip = target.skip
        away: list[DeviceHandle] = []
        if target.room is None:
            audience = self._registry.audience(target.type)
        else:
            audience, away = self._registry.members(target.room, target.type)
        if skip:
            audience = [client for client in audience if client.id not in skip]
            away = [device for device in away if device.id not in skip]
        return self._send(audience, outgoing, [device.id for device in away])

    def _send_to(self, ids: list[str], outgoing: Outgoing) -> EmitResult:
        """Send an event to the devices of these ids. `on_update` hears of those that are away, too."""
        if not ids:
            return EmitResult()
        found = {client_id: self._registry.get(client_id) for client_id in ids}
        audience = [client for client in found.values() if client is not None]
        if len(ids) == 1 and audience:
            return self.emit_to(audience[0], outgoing)
        away = [client_id for client_id, client in found.items() if client is None]
        result = self._send(audience, outgoing, away)
        self._notify(away, outgoing, {})
        return result

    def emit_to(self, client: IoTClient, outgoing: Outgoing) -> EmitResult:
        """Send an event over the connection of a client, and over no later one. Errors are those of `emit`."""
        client.checked(outgoing.event, outgoing.value)
        return self._send([client], outgoing)

    def _send(self, audience: list[IoTClient], outgoing: Outgoing, away: Sequence[str] = ()) -> EmitResult:
        sent, offline, dropped, error, converted = broadcast(audience, outgoing.event, outgoing.value)
        if error is not None:
            raise error
        if dropped:
            self._log_too_large(outgoing.event, dropped)
        if not audience:
            self._check_encodable(outgoing)
        if outgoing.trigger_update and self._callbacks.tells_updates:
            for client in sent:
                self._log_update(client.id, outgoing.event, converted.get(client.id, outgoing.value))
        for loop in self._loops:
            loop.give_way()
        return EmitResult(len(sent), (*offline, *away), dropped)

    def _log_too_large(self, event: str, dropped: dict[str, str]) -> None:
        """Log, rate-limited, for which devices an event was dropped because it is larger than they take."""
        for device_id, reason in dropped.items():
            if reason == TooLarge.reason:
                self._log_throttle.warning(
                    reason, "event %r is dropped for device %r: it is larger than the device takes", event, device_id
                )

    def _keep(self, target: Target, outgoing: Outgoing) -> EmitResult:
        """Keep a durable message for each device, and wait until it is written where the thread may wait."""
        devices, unknown = self._addressed(target)
        converted, refused = _check_each(
            devices, outgoing, single=target.client_ids is not None and len(target.client_ids) == 1
        )
        kept = self._durable_messages.send([one for one in devices if one.id not in refused], outgoing, converted)
        if self._durable_messages.writer is not None and not loop_runs_here():
            for delivery in kept.values():
                delivery.wait_written()
        dropped = refused | dict.fromkeys(unknown, "no device of this id has ever been connected")
        for device_id, delivery in list(kept.items()):
            if delivery.state is DeliveryState.DROPPED:
                if delivery.not_written:
                    raise StoreUnavailable(f"the message for device {device_id!r}: {delivery.reason}")
                dropped[device_id] = delivery.reason
                del kept[device_id]
        sent = sum(delivery.state is not DeliveryState.QUEUED for delivery in kept.values())
        offline = tuple(device_id for device_id in kept if self._registry.get(device_id) is None)
        self._notify(list(kept), outgoing, converted)
        return EmitResult(sent, offline, dropped, kept)

    def _addressed(self, target: Target) -> tuple[list[DeviceHandle], list[str]]:
        """Return the devices of a target, connected or away, and the ids that are not known."""
        if target.client_ids is None:
            devices = self._directory(type=target.type, room=target.room)
            return [device for device in devices if device.id not in target.skip], []
        found = {device_id: self._registry.device(device_id) for device_id in target.ids}
        known = [device for device in found.values() if device is not None]
        return known, [device_id for device_id, device in found.items() if device is None]

    def _notify(self, ids: list[str], outgoing: Outgoing, converted: dict[str, Any]) -> None:
        if outgoing.trigger_update and self._callbacks.tells_updates:
            for device_id in ids:
                self._log_update(device_id, outgoing.event, converted.get(device_id, outgoing.value))

    def _check_encodable(self, outgoing: Outgoing) -> None:
        """Raise EncodeError for a value that no device could take, where there is none. A float travels in v0, too."""
        value: Any = outgoing.value
        if not isinstance(value, float):
            self._codec.encode(outgoing.event, value)


def _check_each(
    devices: Sequence[DeviceHandle], outgoing: Outgoing, *, single: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """Check a durable message against the endpoints of its devices, once: later a device may have declared others.

    Of a device that is away its last connection counts.

    Args:
        devices: connected or away.
        outgoing: the message.
        single: whether the emit addresses one device.

    Returns:
        The value by the ids of the devices that have an endpoint of that name; by id, why others do not take it.

    Raises:
        InvalidData: the only device does not take it.
    """
    checks = Checks(outgoing.value)
    converted: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for device in devices:
        endpoint = device.endpoint(outgoing.event)
        if endpoint is None:
            continue
        try:
            converted[device.id] = checks.of(endpoint, device.id if single else None)
        except InvalidData as error:
            if single:
                raise
            refused[device.id] = str(error)
    return converted, refused

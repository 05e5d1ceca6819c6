"""A device that speaks protocol v2 without a library, written from docs/protocol/v2.md as for a microcontroller.

It calls and is called, sends and receives events and durable messages, which it keeps in memory. Run it beside a server
that has a device type "sensor".
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, var-annotated, call-arg"
import base64
import hashlib
import json
import os
import socket
import time
from struct import pack, unpack, unpack_from

PORT, MOST = 5000, 100_000  # MOST bytes of a value: the server is told, and sends no more
BINARY, BOOLEAN, INTEGER, STRING, JSON, FLOAT, NULL = range(7)
HELLO, WELCOME, ACK, SLEEP, GOODBYE, PROBLEM, PING, PONG = range(16, 24)
CALL, RESULT, FAILURE, DURABLE, TIME = 1, 2, 4, 8, 16

READ = {
    **dict.fromkeys((BINARY, PING, PONG), bytes),
    BOOLEAN: lambda body: body != b"\0",
    INTEGER: lambda body: int.from_bytes(body, "big", signed=True),
    STRING: lambda body: body.decode(),
    FLOAT: lambda body: unpack(">d", body)[0],
    NULL: lambda body: None,
    ACK: lambda body: int.from_bytes(body, "big"),
}  # all others are JSON
WRITE = [
    (bytes, BINARY, bytes),
    (bool, BOOLEAN, lambda value: bytes([value])),  # before int: in Python a bool is one
    (int, INTEGER, lambda value: pack(">q", value)),
    (str, STRING, lambda value: value.encode()),
    (float, FLOAT, lambda value: pack(">d", value)),
    (type(None), NULL, lambda value: b""),
    (object, JSON, lambda value: json.dumps(value, ensure_ascii=False).encode()),
]


class Device:
    def __init__(self, device_id, device_type, handlers):
        self.who = {"id": device_id, "type": device_type, "library": "v2_by_hand.py", "max_payload": MOST}
        self.handlers = handlers  # event -> function(value)
        self.waiting = {}  # number of a call -> function(result, failure)
        self.last_call = self.last = self.sent = 0  # numbers of calls, of durable messages, of those that are sent
        self.stream = os.urandom(8).hex()  # a new name at each start, since the numbers begin anew
        self.kept, self.most = {}, 0  # number -> (event, value), until it is acknowledged
        self.theirs, self.upto = None, 0  # the server's stream, and the last number of it that was handled

    def open(self, host, port):
        self.sent = self.most = 0  # how many may be on their way: none before WELCOME
        self.quiet, self.patience, self.buffer = 20, 10, b""  # seconds until a PING, and until the end behind it
        self.sock = socket.create_connection((host, port), 20)
        key = base64.b64encode(os.urandom(16)).decode()
        request = f"GET /iot.io HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        request += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        self.sock.sendall(f"{request}Sec-WebSocket-Protocol: iotio.v2\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)
        proof = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        if b" 101 " not in head or base64.b64encode(proof) not in head or b"iotio.v2" not in head:
            raise OSError("no server that speaks iotio.v2")
        heard = {"stream": self.theirs, "upto": self.upto} if self.theirs else None
        self.send_packet(HELLO, json.dumps({**self.who, "sends": self.stream, "heard": heard}).encode())

    def read(self, size):
        while len(self.buffer) < size:
            self.sock.settimeout(self.quiet)
            try:
                data = self.sock.recv(4096)
            except TimeoutError:  # whatever was sent meanwhile
                self.send_frame(9, b"")  # PING
                self.sock.settimeout(self.patience)
                data = self.sock.recv(4096)
            if not data:
                raise OSError("the server has gone")
            self.buffer += data
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_frame(self):
        first, size = self.read(2)
        if size > 125:
            size = int.from_bytes(self.read(2 if size == 126 else 8), "big")
        if size > MOST + 1000:
            self.send_frame(8, pack(">H", 1009))
            raise OSError("the message is too large")
        return first, self.read(size)

    def send_frame(self, opcode, data):
        n = len(data)
        size = pack(">B", 128 + n) if n < 126 else pack(">BH", 254, n) if n < 65536 else pack(">BQ", 255, n)
        mask = os.urandom(4)
        self.sock.sendall(bytes([128 + opcode]) + size + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(data)))

    def run(self, host, port):
        self.open(host, port)
        try:
            while True:
                first, data = self.read_frame()  # the server sends no fragments
                if first == 0x89:  # PING
                    self.send_frame(10, data)
                elif first == 0x88:  # CLOSE is answered with its code; then the server ends the stream
                    self.send_frame(8, data[:2])
                    return self.sock.recv(1)
                elif first == 0x82:
                    self.take_packet(data)
        finally:
            self.sock.close()
            while self.waiting:
                self.waiting.popitem()[1](None, {"error": "disconnected"})

    def send_packet(self, kind, body, flags=0, number=b"", event=""):
        name = event.encode()
        self.send_frame(2, bytes([kind, flags]) + number + pack(">H", len(name)) + name + pack(">I", len(body)) + body)

    def send(self, event, value, flags=0, number=b""):
        kind, write = next((kind, write) for of, kind, write in WRITE if isinstance(value, of))
        self.send_packet(kind, write(value), flags, number, event)

    def take_packet(self, packet):
        kind, flags, at, number, previous = packet[0], packet[1], 2, 0, 0
        unknown = NULL < kind < HELLO or kind > PONG
        if unknown or flags > 31:
            self.send_packet(PROBLEM, b'{"error": "unsupported_packet", "info": null}')
            if flags & ~TIME != DURABLE:  # a durable one is acknowledged in its turn, or it would come for ever
                return None
        if flags & (CALL | RESULT | FAILURE):
            (number,), at = unpack_from(">I", packet, at), at + 4
        elif flags & DURABLE:
            (number, previous), at = unpack_from(">QQ", packet, at), at + 16
        at += 8 if flags & TIME else 0
        end = at + 2 + unpack_from(">H", packet, at)[0]
        event = packet[at + 2 : end].decode()
        value = READ.get(kind, json.loads)(b"null" if unknown else packet[end + 4 :])
        if kind == WELCOME:
            self.welcome(value)
        elif kind == ACK:
            self.forget(value)
        elif kind == PING:
            self.send_packet(PONG, b"")
        elif NULL < kind < PONG and not unknown:
            print("the server says", value)  # PROBLEM or GOODBYE
            if kind == PROBLEM and not self.most and value["error"] != "server_busy":  # in the place of WELCOME
                raise SystemExit("the server does not want this device")
        elif flags & (RESULT | FAILURE):
            done = self.waiting.pop(number, lambda result, failure: None)  # nobody may wait any more
            done(*((value, None) if flags & RESULT else (None, value)))
        elif flags & CALL:
            self.answer(event, value, pack(">I", number))
        elif kind == PONG or not flags & DURABLE:
            self.handle(event, value)  # a PONG has no event
        elif previous > self.upto:  # one before it was lost: the next connection brings it
            self.send_packet(PROBLEM, b'{"error": "stream_gap", "info": null}')
            self.send_frame(8, pack(">H", 1008))
            raise OSError("a durable message was lost")
        else:
            if number > self.upto:  # or it is a repetition
                if not unknown:
                    self.handle(event, value)
                self.upto = number
            self.send_packet(ACK, pack(">Q", self.upto))

    def handle(self, event, value):
        try:
            return self.handlers[event](value) if event in self.handlers else None
        except Exception as error:  # the device lives on
            print("the handler of", event, "failed:", error)

    def call(self, event, value, done):
        self.last_call += 1
        self.waiting[self.last_call] = done
        self.send(event, value, CALL, pack(">I", self.last_call))

    def answer(self, event, value, number):
        try:
            self.send("", self.handlers[event](value), RESULT, number)
        except Exception as error:
            code = "exception" if event in self.handlers else "no_handler"
            failure = {"error": code, "name": type(error).__name__, "message": str(error)}
            self.send("", failure, FAILURE, number)

    def welcome(self, fields):
        self.most = fields["max_unacknowledged"]
        self.quiet, self.patience = fields["ping_interval"] or 20, fields["ping_timeout"]
        theirs, mine = fields.get("sends"), fields.get("heard")
        if theirs and theirs != self.theirs:
            self.theirs, self.upto = theirs, 0
        self.sent = mine["upto"] if mine and mine["stream"] == self.stream else 0  # what comes next is behind that
        self.forget(self.sent)
        self.handle("welcome", fields)

    def send_durable(self, event, value):
        self.last += 1
        self.kept[self.last] = event, value
        self.send_kept()

    def forget(self, upto):
        self.kept = {number: message for number, message in self.kept.items() if number > upto}
        self.send_kept()

    def send_kept(self):
        for number, (event, value) in list(self.kept.items())[: self.most]:  # none before WELCOME
            if number > self.sent:
                previous, self.sent = self.sent, number
                self.send(event, value, DURABLE, pack(">QQ", number, previous))


if __name__ == "__main__":
    device = Device("sensor_1", "sensor", {"set": lambda value: print("set to", value)})
    device.send_durable("started", "by hand")
    while True:
        try:
            device.run("localhost", PORT)
        except OSError as error:
            print(error)
        time.sleep(1)

"""A client of WebSocket with sockets alone, whose decompressor has 256 bytes of history and not one more: it has servers
send back, compressed, what repeats itself at every distance."""

import base64
import json
import os
import random
import socket
import struct
import sys
import zlib

MAX_DISTANCE = 600
AT_ONCE = 40


class Strict:
    """Decompresses with a window of 8 bits, one byte at a time.

    What zlib wrote in the same call it finds in the output, beyond its window: of one byte there is nothing to be found.
    """

    def __init__(self):
        self.inflate = zlib.decompressobj(wbits=-8)

    def message(self, payload):
        out = bytearray()
        rest = payload + b"\0\0\xff\xff"
        while True:
            piece = self.inflate.decompress(rest, 1)
            rest = self.inflate.unconsumed_tail
            if not piece and not rest:
                return bytes(out)
            out += piece


def repeated(distance, seed):
    """Returns bytes that come again at this distance, and by chance at many others."""
    chance = random.Random(f"{seed} {distance}")
    letters = 256 if distance % 2 else 12
    block = bytes(chance.randrange(letters) for _ in range(distance))
    return block + (block * 300)[: chance.randrange(3, 280)]


def is_strict():
    """A repetition at 256 bytes is read, one at 257 is not: else the test would prove nothing."""
    for distance in range(240, 300):
        block = random.Random(distance).randbytes(distance)
        deflate = zlib.compressobj(9, wbits=-10)
        payload = deflate.compress(block + block[:50]) + deflate.flush(zlib.Z_SYNC_FLUSH)
        try:
            assert Strict().message(payload[:-4]) == block + block[:50]
            read = True
        except zlib.error as error:
            assert "too far back" in str(error), error
            read = False
        assert read == (distance <= 256), distance


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            (
                f"GET / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                f"sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n"
                "sec-websocket-extensions: permessage-deflate; server_max_window_bits=8\r\n\r\n"
            ).encode()
        )
        while b"\r\n\r\n" not in self.read:
            self.fill()
        head, _, self.read = self.read.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert b"server_max_window_bits=8" in head, head
        self.takeover = b"server_no_context_takeover" not in head

    def fill(self):
        read = self.socket.recv(65_536)
        assert read, "the server ended the connection"
        self.read += read

    def take(self, length):
        while len(self.read) < length:
            self.fill()
        taken, self.read = self.read[:length], self.read[length:]
        return taken

    def send(self, payload):
        length = len(payload)
        head = struct.pack("!BB", 0x82, 0x80 | length) if length < 126 else struct.pack("!BBH", 0x82, 0xFE, length)
        # A key of nothing but zeros leaves the payload as it is.
        self.socket.sendall(head + b"\0\0\0\0" + payload)

    def receive(self):
        """Returns a message and whether it is compressed: one that would not become shorter is sent as it is."""
        first, length = self.take(2)
        assert first in (0xC2, 0x82), f"{first:#x}"
        if length == 126:
            (length,) = struct.unpack("!H", self.take(2))
        return self.take(length), first == 0xC2


def check(name, port):
    client = Client(port)
    strict = Strict()
    compressed = saved = 0
    distances = range(1, MAX_DISTANCE + 1)
    for start in range(0, MAX_DISTANCE, AT_ONCE):
        batch = [repeated(distance, name) for distance in distances[start : start + AT_ONCE]]
        if not client.takeover:
            # In one message: what comes before it is of no use.
            batch = [b"".join(batch)]
        for message in batch:
            client.send(message)
        for number, message in enumerate(batch):
            payload, is_compressed = client.receive()
            if not client.takeover:
                strict = Strict()
            try:
                read = strict.message(payload) if is_compressed else payload
            except zlib.error as error:
                raise AssertionError(f"{name}, message {start + number + 1}: {error}") from error
            assert read == message, f"{name}, message {start + number + 1}"
            compressed += is_compressed
            saved += len(message) - len(payload)
    return {"name": name, "takeover": client.takeover, "compressed": compressed, "saved": saved}


if __name__ == "__main__":
    is_strict()
    for name, port in json.loads(sys.argv[1]):
        print(json.dumps(check(name, port)), flush=True)

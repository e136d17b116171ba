"""A client that breaks the rules of QUIC (aioquic with frames of its own), in one way each time.

It prints how the server ended the connection, or that it did not.
"""

import argparse
import asyncio
import ssl

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived

# RFC 9000 §19
PADDING = 0x00
ACK = 0x02
CRYPTO = 0x06
STREAM = 0x08
NEW_CONNECTION_ID = 0x18
PATH_CHALLENGE = 0x1A
OFFSET, LENGTH, FINISH = 0x04, 0x02, 0x01


class Attacker(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ended = asyncio.get_running_loop().create_future()
        self.bytes_received = 0
        self.heard = asyncio.Event()
        self.echoed = bytearray()

    def datagram_received(self, data, addr):
        self.bytes_received += len(data)
        super().datagram_received(data, addr)
        self.heard.set()

    def quic_event_received(self, event):
        self.heard.set()
        if isinstance(event, ConnectionTerminated) and not self.ended.done():
            self.ended.set_result((event.error_code, event.reason_phrase))
        elif isinstance(event, StreamDataReceived):
            self.echoed.extend(event.data)

    def frames(self, *frames):
        """Sends one packet with these frames: pairs of a type and what follows it."""

        def write(builder, *_, **__):
            for kind, body in frames:
                builder.start_frame(kind, capacity=len(body) + 8).push_bytes(body)

        self._quic._write_ping_frame = write
        self._quic.send_ping(0)
        self.transmit()


def var(number):
    if number < 1 << 6:
        return number.to_bytes(1, "big")
    if number < 1 << 14:
        return (number | 1 << 14).to_bytes(2, "big")
    if number < 1 << 30:
        return (number | 2 << 30).to_bytes(4, "big")
    return (number | 3 << 62).to_bytes(8, "big")


def stream(number, offset, data, flags=0):
    return STREAM | OFFSET | LENGTH | flags, var(number) + var(offset) + var(len(data)) + data


async def flood(client, packets):
    """Sends packets of frames, and gives the other side its turn now and then: until it answers."""
    for count, frames in enumerate(packets):
        if client.ended.done():
            return
        if count % 16 == 15:
            client.heard.clear()
        client.frames(*frames)
        if count % 16 == 15:
            await client.heard.wait()


async def gaps(client, arguments):
    """Bytes with a gap before each, so that nothing is in order: one full datagram each (RUSTSEC-2026-0185)."""
    await flood(
        client, ([stream(0, 2 * number + 1, b"x"), (PADDING, bytes(1000))] for number in range(arguments.count))
    )


async def tiny(client, arguments):
    """Many streams of a byte, opened, ended and opened again, as many as are allowed."""
    for round in range(arguments.count // 100):
        for _ in range(100):
            client._quic.send_stream_data(client._quic.get_next_available_stream_id(), b"x", end_stream=True)
        client.transmit()
        while len(client.echoed) < 100 * (round + 1) and not client.ended.done():
            client.heard.clear()
            await client.heard.wait()


async def exhaust(client, arguments):
    """A stream far beyond what is allowed."""
    client.frames(stream(4 * 1_000_000, 0, b"x"))


async def beyond(client, arguments):
    """More on a stream than its window."""
    client.frames(stream(0, 1 << 40, b"x"))


async def acknowledge(client, arguments):
    """An acknowledgement of what was never sent."""
    client.frames((ACK, var(1 << 29) + var(0) + var(0) + var(0)))


async def crypto(client, arguments):
    """Bytes of a handshake that is over, without an end and never in order."""
    await flood(
        client, ([(CRYPTO, var(1 + 1000 * number) + var(900) + bytes(900))] for number in range(arguments.count))
    )


async def identifiers(client, arguments):
    """More identifiers than were asked for."""
    await flood(
        client,
        (
            [(NEW_CONNECTION_ID, var(number) + var(0) + bytes([8]) + number.to_bytes(8, "big") + bytes(16))]
            for number in range(8, 8 + arguments.count)
        ),
    )


async def challenges(client, arguments):
    """A question for the path in every packet, many times."""
    await flood(
        client,
        (
            [(PATH_CHALLENGE, number.to_bytes(4, "big") + place.to_bytes(4, "big")) for place in range(50)]
            for number in range(arguments.count)
        ),
    )


def parameter(number, value, length=None):
    """A transport parameter (RFC 9000 §18), which may lie about its length."""
    return var(number) + var(len(value) if length is None else length) + value


# RFC 9000 §18.2, RFC 9221 §3; each stands behind those that a client sends anyway.
SENSELESS = {
    "a number cut short": parameter(0x20, b"\x40"),
    "a number of the first byte of eight": parameter(0x04, b"\xc0"),
    "an identifier cut short": b"\x80",
    "an identifier alone": b"\x20",
    "a length cut short": b"\x20\x40",
    "a length beyond the end": parameter(0x1B, b"", length=200),
    "a length of 62 bits": b"\x1b" + var((1 << 62) - 1),
    "a value longer than its number": parameter(0x0B, b"\x19\x00"),
    "a value of nothing": parameter(0x20, b""),
    "a maximum below 1200": parameter(0x03, var(1199)),
    "an exponent above 20": parameter(0x0A, var(21)),
    "a delay of 2^14 ms": parameter(0x0B, var(1 << 14)),
    "one identifier at the most": parameter(0x0E, var(1)),
    "2^60 + 1 streams": parameter(0x08, var((1 << 60) + 1)),
    "the same twice": parameter(0x01, var(1)) * 2,
    "an identifier of 21 bytes": parameter(0x0F, bytes(21)),
    "an address cut short": parameter(0x0D, bytes(3)),
    "an address whose identifier has 255 bytes": parameter(0x0D, bytes(24) + b"\xff" + bytes(16)),
    "an address without a token": parameter(0x0D, b"\x7f\0\0\x01\0\x01" + bytes(18) + b"\x08" + bytes(8)),
    "a server's address": parameter(0x0D, b"\x7f\0\0\x01\0\x01" + bytes(18) + b"\x08" + bytes(24)),
    "a server's token": parameter(0x02, bytes(16)),
    "a token of one byte": parameter(0x02, b"\x00"),
    "the identifier that a server was asked by": parameter(0x00, bytes(8)),
}


async def parameters(configuration, host, port):
    """Transport parameters that make no sense (RUSTSEC-2026-0037), one connection each; prints how each ended."""
    for name, bytes_of_it in SENSELESS.items():

        def create(*args, **kwargs):
            client = Attacker(*args, **kwargs)
            honest = client._quic._serialize_transport_parameters
            client._quic._serialize_transport_parameters = lambda: honest() + bytes_of_it
            return client

        client = connect(host, port, configuration=configuration, create_protocol=create, wait_connected=False)
        async with client as client:
            client.transmit()
            code, _ = await asyncio.wait_for(client.ended, 10)
            print(f"ended {code:#x} {name}", flush=True)
    print("all", flush=True)


ACTIONS = {
    function.__name__: function
    for function in [gaps, tiny, exhaust, beyond, acknowledge, crypto, identifiers, challenges]
}


async def main(arguments):
    host, port = arguments.address.rsplit(":", 1)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["net"], server_name="localhost")
    configuration.load_verify_locations(arguments.ca)
    configuration.verify_mode = ssl.CERT_REQUIRED
    if arguments.action == "parameters":
        return await parameters(configuration, host, int(port))
    # What is lost is nobody's here: congestion must not slow an attacker down.
    async with connect(host, int(port), configuration=configuration, create_protocol=Attacker) as client:
        client._quic._loss._cc.congestion_window = 1 << 30
        await ACTIONS[arguments.action](client, arguments)
        print("sent", flush=True)
        # The test looks at the server, and then tells to go.
        try:
            code, reason = await asyncio.wait_for(asyncio.shield(client.ended), arguments.wait)
            print(f"ended {code:#x} {reason}", flush=True)
        except asyncio.TimeoutError:
            print(f"open {client.bytes_received}", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, input)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("action", choices=[*ACTIONS, "parameters"])
    parser.add_argument("--ca", required=True)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--wait", type=float, default=2.0)
    arguments = parser.parse_args()
    try:
        asyncio.run(asyncio.wait_for(main(arguments), 60))
    except (EOFError, ConnectionError):
        pass

"""A client of QUIC that shares no code with ours (aioquic): streams, frames, datagrams, resumption, early data, another
address."""

import argparse
import asyncio
import hashlib
import os
import random
import ssl
import struct

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import DatagramFrameReceived, StreamDataReceived, StreamReset

SIZES = [0, 1, 125, 1200, 16_384, 65_536, 300_000]


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.received = {}
        self.ended = {}
        self.cut = asyncio.Queue()
        self.datagrams = asyncio.Queue()

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            self.received.setdefault(event.stream_id, bytearray()).extend(event.data)
            if event.end_stream:
                self.ended.setdefault(event.stream_id, asyncio.Event()).set()
        elif isinstance(event, StreamReset):
            self.cut.put_nowait((event.stream_id, event.error_code))
        elif isinstance(event, DatagramFrameReceived):
            self.datagrams.put_nowait(event.data)

    def send(self, stream, data, end):
        self._quic.send_stream_data(stream, data, end_stream=end)
        self.transmit()

    async def everything(self, stream):
        await self.ended.setdefault(stream, asyncio.Event()).wait()
        return bytes(self.received.get(stream, b""))


async def streams(client):
    """Many streams at once, each of which comes back as it was sent."""
    sent = {}
    for size in SIZES * 3:
        stream = client._quic.get_next_available_stream_id()
        sent[stream] = os.urandom(size)
        client.send(stream, sent[stream], True)
    for stream, data in sent.items():
        back = await client.everything(stream)
        assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest(), (stream, len(data), len(back))
    print(f"ok {len(sent)} streams, {sum(map(len, sent.values()))} bytes")


async def frames(client):
    """Length-prefixed messages on one stream."""
    stream = client._quic.get_next_available_stream_id()
    messages = [os.urandom(size) for size in SIZES] * 4
    wire = b"".join(struct.pack("!I", len(message)) + message for message in messages)
    # Cut anywhere, so that no frame is where a packet is.
    at = 0
    while at < len(wire):
        step = random.randint(1, 5000)
        client.send(stream, wire[at : at + step], at + step >= len(wire))
        at += step
    back = await client.everything(stream)
    assert back == wire, (len(back), len(wire))
    print(f"ok {len(messages)} frames")


async def datagrams(client):
    """Datagrams, sent again until they come back."""
    for number in range(20):
        data = struct.pack("!I", number) + os.urandom(1000)
        for _ in range(50):
            client._quic.send_datagram_frame(data)
            client.transmit()
            try:
                back = await asyncio.wait_for(client.datagrams.get(), 0.2)
            except asyncio.TimeoutError:
                continue
            if back == data:
                break
        else:
            raise AssertionError(f"datagram {number} never came back")
    print("ok 20 datagrams")


async def abort(client):
    """Streams that are cut, and others whose echo is not wanted: more than may be open at once, and the connection goes on."""
    for _ in range(100):
        cut = client._quic.get_next_available_stream_id()
        client.send(cut, b"never to end", False)
        client._quic.reset_stream(cut, 77)
        unwanted = client._quic.get_next_available_stream_id()
        client.send(unwanted, bytes(1000), False)
        client._quic.stop_stream(unwanted, 78)
        client.send(unwanted, bytes(1000), True)
        # RFC 9000 §3.5: who is asked to stop resets the stream, by the same code.
        assert await asyncio.wait_for(client.cut.get(), 10) == (unwanted, 78)
    await streams(client)


async def migrate(client):
    """The connection goes on from another socket."""
    await streams(client)
    loop = asyncio.get_running_loop()
    old = client._transport
    host, port = old.get_extra_info("sockname")[:2]
    _, other = await loop.create_datagram_endpoint(lambda: Forward(client), local_addr=(host, 0))
    client._transport = other.transport
    client._quic.change_connection_id()
    client.transmit()
    await streams(client)
    assert other.transport.get_extra_info("sockname")[1] != port
    old.close()


class Forward(asyncio.DatagramProtocol):
    def __init__(self, client):
        self.client = client

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.client.datagram_received(data, addr)


async def early(client, stream, sent):
    """What was sent in the first flight was taken, and came back."""
    assert await client.everything(stream) == sent
    assert client._quic.tls.session_resumed, "not resumed"
    assert client._quic.tls.early_data_accepted, "not early"
    print("ok early")


ACTIONS = {"streams": streams, "frames": frames, "datagrams": datagrams, "abort": abort, "migrate": migrate}


async def main(arguments):
    host, port = arguments.address.rsplit(":", 1)
    tickets = []

    def configuration(ticket=None):
        made = QuicConfiguration(
            is_client=True,
            alpn_protocols=[arguments.alpn],
            max_datagram_frame_size=65_536,
            server_name="localhost",
            session_ticket=ticket,
        )
        made.load_verify_locations(arguments.ca)
        if arguments.cert:
            made.load_cert_chain(arguments.cert, arguments.key)
        made.verify_mode = ssl.CERT_REQUIRED
        return made

    if arguments.action in ("resume", "early"):
        async with connect(
            host, int(port), configuration=configuration(), create_protocol=Client, session_ticket_handler=tickets.append
        ) as client:
            await streams(client)
        assert tickets, "no ticket"
        if arguments.action == "early":
            host, port = arguments.then.rsplit(":", 1)
            connecting = connect(
                host,
                int(port),
                configuration=configuration(tickets[-1]),
                create_protocol=Client,
                wait_connected=False,
            )
            async with connecting as client:
                stream = client._quic.get_next_available_stream_id()
                client.send(stream, b"in the first flight", True)
                await early(client, stream, b"in the first flight")
            return
        async with connect(
            host, int(port), configuration=configuration(tickets[-1]), create_protocol=Client
        ) as client:
            await streams(client)
            assert client._quic.tls.session_resumed, "not resumed"
            print("ok resumed")
        return
    async with connect(host, int(port), configuration=configuration(), create_protocol=Client) as client:
        await ACTIONS[arguments.action](client)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("action", choices=[*ACTIONS, "resume", "early"])
    parser.add_argument("--ca", required=True)
    parser.add_argument("--then", help="where the server is reached for what is early")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--alpn", default="net")
    asyncio.run(asyncio.wait_for(main(parser.parse_args()), 60))

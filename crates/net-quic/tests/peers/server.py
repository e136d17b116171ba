"""A server of QUIC that shares no code with ours (aioquic): it sends back what comes, by stream and by datagram."""

import argparse
import asyncio

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import DatagramFrameReceived, StreamDataReceived


class Echo(QuicConnectionProtocol):
    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            if event.stream_id % 4 < 2:
                self._quic.send_stream_data(event.stream_id, event.data, end_stream=event.end_stream)
            else:
                # One direction alone: it comes back on a stream of the server's.
                back = self._quic.get_next_available_stream_id(is_unidirectional=True)
                self._quic.send_stream_data(back, event.data, end_stream=event.end_stream)
        elif isinstance(event, DatagramFrameReceived):
            self._quic.send_datagram_frame(event.data)
        self.transmit()


class Tickets:
    """Those that were given; each is good once."""

    def __init__(self):
        self.given = {}

    def add(self, ticket):
        self.given[ticket.ticket] = ticket

    def take(self, label):
        return self.given.pop(label, None)


async def main(arguments):
    configuration = QuicConfiguration(
        is_client=False, alpn_protocols=[arguments.alpn], max_datagram_frame_size=65_536
    )
    configuration.load_cert_chain(arguments.cert, arguments.key)
    tickets = Tickets()
    server = await serve(
        "127.0.0.1",
        0,
        configuration=configuration,
        create_protocol=Echo,
        retry=arguments.retry,
        session_ticket_fetcher=tickets.take,
        session_ticket_handler=tickets.add,
    )
    print(server._transport.get_extra_info("sockname")[1], flush=True)
    # Until whoever started it ends it.
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--alpn", default="net")
    parser.add_argument("--retry", action="store_true")
    asyncio.run(main(parser.parse_args()))

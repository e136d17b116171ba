#!/usr/bin/env python3
"""An independent TLS client that sends frames while it receives their echoes, in one thread.

  bulk.py HOST PORT CA CERT KEY      prints `ok …` where every frame came back unchanged and in order

framed.py's `files` and `burst` read and write one SSLSocket from two threads, which Python's ssl does not allow: it
takes its own confusion for the end of the stream, whoever the server is. asyncio keeps to one thread.
"""
import asyncio, os, ssl, sys


async def main():
    host, port, ca, cert, key = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(cert, key)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    lengths = [0, 1, 7, 64, 1000, 4096, 16384, 16385, 65536, 500_000, 1_000_000] * 6 + [100] * 20_000
    payloads = [os.urandom(length) for length in lengths]

    async def send():
        for payload in payloads:
            writer.write(len(payload).to_bytes(4, "big") + payload)
            await writer.drain()

    sending = asyncio.create_task(send())
    for number, payload in enumerate(payloads):
        length = int.from_bytes(await reader.readexactly(4), "big")
        assert await reader.readexactly(length) == payload, f"frame {number} differs"
    await sending
    writer.close()
    print("ok", len(payloads), "frames", sum(lengths), "bytes", writer.get_extra_info("cipher")[:2])


asyncio.run(main())

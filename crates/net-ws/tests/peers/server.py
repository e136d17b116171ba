"""A server of WebSocket that shares no code with ours (websockets): what it does is in the path, and what it saw of a
connection it tells at its end."""

import asyncio
import json
import os
import ssl
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from client import agreed


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def fragments(connection):
    while True:
        parts = [part async for part in connection.recv_streaming()]
        await connection.send(parts)


async def pings(connection):
    await (await connection.ping(b"from a server"))
    await connection.send("a pong came")
    await connection.wait_closed()


async def closed(connection):
    await connection.close(4002, "enough")


async def flood(connection):
    await connection.send("x" * (2 << 20))
    await connection.recv()


ACTIONS = {action.__name__: action for action in [echo, fragments, pings, closed, flood]}


async def handle(connection):
    path, _, query = connection.request.path.partition("?")
    failure = None
    try:
        await ACTIONS[path[1:]](connection)
    except ConnectionClosed:
        pass
    except Exception as error:
        failure = repr(error)
    await connection.wait_closed()
    told = {
        "path": path,
        "query": query,
        "header": connection.request.headers.get("x-from"),
        "protocol": connection.subprotocol,
        "agreed": agreed(connection),
        "code": connection.close_code,
        "reason": connection.close_reason,
        "failure": failure,
    }
    print(json.dumps(told), flush=True)


def security():
    """Returns settings of TLS, where there is a certificate."""
    if "PEER_CERT" not in os.environ:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.environ["PEER_CERT"], os.environ["PEER_KEY"])
    return context


async def main(plans):
    servers = []
    for deflate in plans:
        servers.append(
            await serve(
                handle,
                "127.0.0.1",
                0,
                compression=None,
                extensions=None if deflate is None else [ServerPerMessageDeflateFactory(**deflate)],
                subprotocols=["second", "third"],
                ping_interval=None,
                ssl=security(),
                process_response=lambda _, __, response: response.headers.update({"x-from": "a server"}),
            )
        )
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    # Until whoever started it ends it.
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))

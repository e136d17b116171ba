"""A client of WebSocket that shares no code with ours (websockets): it does what it is told to, and fails where it sees
something else than it should."""

import asyncio
import json
import random
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

LENGTHS = [0, 1, 125, 126, 65_535, 65_536, 1 << 20]


def text(length):
    """Returns text of so many bytes, with characters of one byte and of two."""
    whole = ("Zürich, " * (length // 9 + 1)).encode()[:length].decode(errors="ignore")
    return whole + "x" * (length - len(whole.encode()))


def noise(length):
    """Returns bytes that cannot be compressed."""
    return random.Random(length).randbytes(length)


def messages():
    for length in LENGTHS:
        yield text(length)
        # What cannot be compressed becomes longer: `limit` has one that is as long as it may be.
        yield noise(length - length // 64)


def agreed(connection):
    """Returns what was agreed on compression, seen from here."""
    for extension in connection.protocol.extensions:
        return {
            "send_takeover": not extension.local_no_context_takeover,
            "recv_takeover": not extension.remote_no_context_takeover,
            "send_bits": extension.local_max_window_bits,
            "recv_bits": extension.remote_max_window_bits,
        }
    return None


async def echo(connection):
    assert connection.subprotocol == "second", connection.subprotocol
    assert connection.response.headers["x-from"] == "a server"
    for message in messages():
        await connection.send(message)
        assert await connection.recv() == message, len(message)
    await (await connection.ping(b"from a client"))
    await (await connection.ping(b""))
    await connection.close(4001, "genüg")
    # The code comes back, the reason was for the other side.
    assert (connection.close_code, connection.close_reason) == (4001, "")


async def fragments(connection):
    for parts in [["Z", "üri", "", "ch" * 1000], [b"\0", b"", b"\xff" * 70_000, b"end"]]:
        await connection.send(parts)
        back = [part async for part in connection.recv_streaming()]
        assert len(back) >= len(parts), len(back)
        assert parts[0][:0].join(back) == parts[0][:0].join(parts)
    await connection.close()


async def pings(connection):
    assert await connection.recv() == "a pong came"
    await connection.close()


async def closed(connection):
    try:
        await connection.recv()
    except ConnectionClosed as ended:
        assert (ended.rcvd.code, ended.rcvd.reason) == (4002, "enough"), ended
        assert ended.rcvd_then_sent
    else:
        raise AssertionError("a message")


async def beyond(connection):
    try:
        await connection.send("x" * (2 << 20))
        await connection.recv()
    except ConnectionClosed as ended:
        assert ended.rcvd.code == 1009, ended
    else:
        raise AssertionError("a message")


async def flood(connection):
    try:
        await connection.recv()
    except ConnectionClosed as ended:
        assert ended.sent.code == 1009, ended
    else:
        raise AssertionError("a message")


async def limit(connection):
    message = noise(1 << 20)
    await connection.send(message)
    assert await connection.recv() == message
    await connection.close()


ACTIONS = {action.__name__: action for action in [echo, fragments, pings, closed, beyond, flood, limit]}


async def run(plan, action):
    deflate = plan["deflate"]
    async with connect(
        f"{plan['to']}/{action}?name=7",
        compression=None,
        extensions=None if deflate is None else [ClientPerMessageDeflateFactory(**deflate)],
        subprotocols=["first", "second"],
        additional_headers={"x-from": "a client"},
        ping_interval=None,
        proxy=None,
    ) as connection:
        told = agreed(connection)
        await asyncio.wait_for(ACTIONS[action](connection), 20)
    print(json.dumps(told), flush=True)


async def main(plans):
    for plan in plans:
        for action in plan["actions"]:
            try:
                await run(plan, action)
            except BaseException:
                print(f"{action}: {plan}", file=sys.stderr)
                raise


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))

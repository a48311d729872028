"""Python `websockets` as a server: `websockets_server.py HOST:PORT [PARAMETERS]`. See README.md in this folder."""

import asyncio
import json
import sys
import zlib

import websockets
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

HOST, PORT = sys.argv[1].rsplit(":", 1)
PARAMETERS = json.loads(sys.argv[2]) if len(sys.argv) > 2 else None


def deflated(data):
    """A whole compressed message, without the tail that is never sent."""
    compressor = zlib.compressobj(9, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def frame(first, payload):
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    return bytes([first, 127]) + len(payload).to_bytes(8, "big") + payload


WRONG = {
    "utf8": b"\x81\x02\xc3\x28",
    "masked": b"\x81\x85\x00\x00\x00\x00hello",
    "reserved": b"\xc1\x05hello",
    "opcode": b"\x83\x00",
    "big": b"\x82\x7f" + (1 << 40).to_bytes(8, "big"),
    "length": b"\x82\x7e\x00\x05hello",
    "deflate-cut": frame(0xC1, deflated(b"not to its end")[:-3]),
    "deflate-empty": frame(0xC1, b""),
    "deflate-continuation": frame(0x41, deflated(b"one")) + frame(0xC0, b"\x00"),
    "deflate-bomb": frame(0xC2, deflated(bytes(65 << 20))),
}


async def serve_path(ws, path):
    if path == "/echo":
        async for message in ws:
            await ws.send(message)
    elif path == "/fragments":
        async for message in ws:
            third = len(message) // 3
            await ws.send([message[:third], message[third : 2 * third], message[2 * third :]])
    elif path == "/ping":
        await asyncio.wait_for(await ws.ping(b"are you there"), 60)
        async for message in ws:
            await ws.send(message)
    elif path == "/close":
        await ws.close(4002, "as agreed")
    elif path.startswith("/wrong/"):
        ws.transport.write(WRONG[path.removeprefix("/wrong/")])
        await ws.recv()


async def handle(ws):
    path = ws.request.path
    for seen in ws.protocol.extensions:
        print("agreed", json.dumps([seen.local_no_context_takeover, seen.remote_no_context_takeover,
                                    seen.local_max_window_bits, seen.remote_max_window_bits]), flush=True)
    try:
        await serve_path(ws, path)
    except websockets.ConnectionClosed:
        pass
    except TimeoutError:
        print(f"no pong on {path}", flush=True)
    await asyncio.wait_for(ws.wait_closed(), 60)
    seen = ws.protocol.close_rcvd
    print(f"closed {path} {seen.code if seen else 'none'} {seen.reason if seen else ''}".rstrip(), flush=True)


async def run():
    options = {"max_size": 64 << 20, "ping_interval": None, "subprotocols": None}
    options["select_subprotocol"] = lambda _, offered: offered[0] if offered else None
    if PARAMETERS is not None:
        options["extensions"], options["compression"] = [ServerPerMessageDeflateFactory(**PARAMETERS)], None
    async with serve(handle, HOST, int(PORT), **options) as server:
        print(f"listening on ws://{HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
        print(f"version {websockets.__version__}", flush=True)
        await server.serve_forever()


asyncio.run(run())

"""Python `websockets` as a server: `websockets_server.py HOST:PORT`. See README.md beside this file."""

import asyncio
import sys

import websockets
from websockets.asyncio.server import serve

HOST, PORT = sys.argv[1].rsplit(":", 1)
WRONG = {
    "utf8": b"\x81\x02\xc3\x28",
    "masked": b"\x81\x85\x00\x00\x00\x00hello",
    "reserved": b"\xc1\x05hello",
    "opcode": b"\x83\x00",
    "big": b"\x82\x7f" + (1 << 40).to_bytes(8, "big"),
    "length": b"\x82\x7e\x00\x05hello",
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
        await asyncio.wait_for(await ws.ping(b"are you there"), 5)
        async for message in ws:
            await ws.send(message)
    elif path == "/close":
        await ws.close(4002, "as agreed")
    elif path.startswith("/wrong/"):
        ws.transport.write(WRONG[path.removeprefix("/wrong/")])
        await ws.recv()


async def handle(ws):
    path = ws.request.path
    try:
        await serve_path(ws, path)
    except websockets.ConnectionClosed:
        pass
    except TimeoutError:
        print(f"no pong on {path}", flush=True)
    await asyncio.wait_for(ws.wait_closed(), 15)
    seen = ws.protocol.close_rcvd
    print(f"closed {path} {seen.code if seen else 'none'} {seen.reason if seen else ''}".rstrip(), flush=True)


async def run():
    options = {"max_size": 64 << 20, "ping_interval": None, "subprotocols": None}
    options["select_subprotocol"] = lambda _, offered: offered[0] if offered else None
    async with serve(handle, HOST, int(PORT), **options) as server:
        print(f"listening on ws://{HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
        print(f"version {websockets.__version__}", flush=True)
        await server.serve_forever()


asyncio.run(run())

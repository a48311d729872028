"""Python `websockets` as a client: `websockets_client.py URL [--mix COUNT PARAMETERS]` against an echo server, or
`websockets_client.py --broadcast COUNT URL PARAMETERS [URL PARAMETERS ...]` against a broadcast server. See README.md."""

import asyncio
import contextlib
import json
import random
import sys
import zlib

import websockets
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

URL = sys.argv[1]
MIB = 1 << 20
BINARY = bytes(range(256)) * (MIB // 256)
TEXT = ("grüße, 世界 🌍 " * (MIB // 22))[: MIB // 2]
MASK = b"\x00\x00\x00\x00"  # a mask key of zeros, so that the bytes on the wire can be read here


def open_echo(url=URL, **options):
    return connect(url, max_size=64 * MIB, open_timeout=60, ping_interval=None, **options)


async def equal(ws, message, want=None):
    await ws.send(message)
    got = await ws.recv()
    want = message if want is None else want
    assert type(got) is type(want), f"sent {type(want)}, got {type(got)}"
    assert got == want, f"sent {len(want)}, got {len(got)} other ones"


async def text():
    async with open_echo() as ws:
        await equal(ws, "hello")
        await equal(ws, "grüße, 世界 🌍")
        await equal(ws, "")


async def binary():
    async with open_echo() as ws:
        await equal(ws, b"\x00\xff\x80")
        await equal(ws, b"")


async def mebibyte():
    async with open_echo() as ws:
        await equal(ws, BINARY)
        await equal(ws, TEXT)


async def without_compression():
    async with open_echo(compression=None) as ws:
        assert ws.protocol.extensions == [], ws.protocol.extensions
        await equal(ws, BINARY)
        await equal(ws, TEXT)


async def fragments():
    async with open_echo() as ws:
        parts = [TEXT[:1], "", TEXT[1:70000], TEXT[70000:]]
        await equal(ws, parts, TEXT)
        parts = [BINARY[:125], BINARY[125:251], BINARY[251:]]
        await equal(ws, parts, BINARY)


async def pipelined():
    async with open_echo() as ws:
        sent = [f"message {n}" for n in range(1000)]

        async def send_all():
            for message in sent:
                await ws.send(message)

        sending = asyncio.create_task(send_all())
        got = [await ws.recv() for _ in sent]
        await sending
        assert got == sent, "the order or the content changed"


async def ping():
    async with open_echo() as ws:
        for payload in (b"", b"are you there", b"x" * 125):
            await asyncio.wait_for(await ws.ping(payload), 60)
        # A ping may come between the fragments of a message.
        async def parts():
            yield "one "
            await asyncio.wait_for(await ws.ping(b"in between"), 60)
            yield "two"
        await equal(ws, parts(), "one two")


async def close_with_code():
    async with open_echo() as ws:
        await ws.close(4001, "bye, grüße")
        assert ws.protocol.close_rcvd.code == 4001, ws.protocol.close_rcvd
    async with open_echo() as ws:
        await ws.close()
        assert ws.protocol.close_rcvd.code == 1000, ws.protocol.close_rcvd


async def subprotocol():
    async with open_echo(subprotocols=["chat.v2", "chat.v1"]) as ws:
        assert ws.subprotocol == "chat.v2", f"agreed on {ws.subprotocol}"
    async with open_echo() as ws:
        assert ws.subprotocol is None, f"agreed on {ws.subprotocol}"


def wrong(code, *pieces, compression=None):
    """Writes bytes past the library; the server's close frame must carry this code, and the server must hang up by itself."""

    async def run():
        async with open_echo(compression=compression, close_timeout=120) as ws:
            await equal(ws, "before")
            for piece in pieces:
                ws.transport.write(piece)
            await asyncio.wait_for(ws.wait_closed(), 60)
            seen = ws.protocol.close_rcvd
            assert seen is not None, "the connection ended without a close frame"
            assert seen.code == code, f"closed with {seen}, not {code}"

    return run


def deflated(data):
    """A whole compressed message, without the tail that is never sent."""
    compressor = zlib.compressobj(9, wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def wrong_deflate(code, *frames):
    """The same with compression agreed on; each frame is given as its first byte and its payload."""
    pieces = [bytes([first, 0xFE]) + len(payload).to_bytes(2, "big") + MASK + payload if len(payload) > 125
              else bytes([first, 0x80 | len(payload)]) + MASK + payload for first, payload in frames]
    return wrong(code, *pieces, compression="deflate")


def mix(count):
    """Text and binary, 0 to 100 KiB but mostly short, repetitive and random."""
    printable = bytes(32 + byte % 95 for byte in range(256))
    rng = random.Random(7692)
    for n in range(count):
        size = {0: 100 << 10, 1: 0}.get(n, int((100 << 10) * rng.random() ** 3))
        noise = rng.randbytes(size)
        if n % 4 == 1:
            yield noise
        elif n % 4 == 2:
            yield noise.translate(printable).decode()
        else:
            rows = "".join(f'{{"id":{n},"line":{line},"name":"grüße, 世界 🌍"}}\n' for line in range(size // 40 + 1)).encode()[:size]
            yield rows if n % 4 == 3 else rows.decode(errors="ignore")


def agreed(ws):
    """What the library took from the answer."""
    if not ws.protocol.extensions:
        return "null"
    (seen,) = ws.protocol.extensions
    return json.dumps([seen.remote_no_context_takeover, seen.local_no_context_takeover,
                       seen.remote_max_window_bits, seen.local_max_window_bits])


async def run_broadcast(count, members):
    """All members connect and take turns sending; each receives all messages, and those of one sender in order."""
    sent = [f"{n} " + message if isinstance(message, str) else b"%d " % n + message for n, message in enumerate(mix(count))]

    async def listen(ws):
        heard = {}
        for _ in sent:
            got = await asyncio.wait_for(ws.recv(), 60)
            n = int(got.split(" " if isinstance(got, str) else b" ", 1)[0])
            assert type(got) is type(sent[n]) and got == sent[n], f"message {n} of {len(sent[n])} came as another"
            assert n > heard.get(n % len(members), -1), f"message {n} came out of its order"
            heard[n % len(members)] = n

    async with contextlib.AsyncExitStack() as stack:
        all_of_them = []
        for url, parameters in members:
            extensions = None if parameters is None else [ClientPerMessageDeflateFactory(**parameters)]
            ws = await stack.enter_async_context(open_echo(url, extensions=extensions, compression=None))
            print("agreed", agreed(ws))
            all_of_them.append(ws)
        listening = [asyncio.create_task(listen(ws)) for ws in all_of_them]
        for n, message in enumerate(sent):
            await all_of_them[n % len(members)].send(message)
        await asyncio.gather(*listening)


async def run_mix(count, parameters):
    """Sends pipelined messages on one connection with these parameters; prints what the library took from the answer."""
    sent = list(mix(count))
    async with open_echo(extensions=[ClientPerMessageDeflateFactory(**parameters)], compression=None) as ws:
        print("agreed", agreed(ws))
        print("extensions", ws.response.headers["Sec-WebSocket-Extensions"])

        async def send_all():
            for message in sent:
                await ws.send(message)

        sending = asyncio.create_task(send_all())
        for n, message in enumerate(sent):
            got = await asyncio.wait_for(ws.recv(), 60)
            assert type(got) is type(message) and got == message, f"message {n} of {len(message)} came back as another"
        await sending


CASES = {
    "text": text,
    "binary": binary,
    "1 MiB, compression offered": mebibyte,
    "1 MiB, compression not offered": without_compression,
    "fragments": fragments,
    "1000 messages pipelined": pipelined,
    "ping": ping,
    "close code and reason": close_with_code,
    "subprotocol": subprotocol,
    "wrong: text that is not UTF-8": wrong(1007, b"\x81\x82" + MASK + b"\xc3\x28"),
    "wrong: UTF-8 cut at the end": wrong(1007, b"\x81\x83" + MASK + b"a\xe4\xb8"),
    "wrong: bad byte in an unfinished frame": wrong(1007, b"\x81\xfe\x10\x00" + MASK + b"\xff"),
    "wrong: no mask": wrong(1002, b"\x81\x05hello"),
    "wrong: reserved bit": wrong(1002, b"\xc1\x80" + MASK),
    "wrong: reserved opcode": wrong(1002, b"\x83\x80" + MASK),
    "wrong: continuation of nothing": wrong(1002, b"\x80\x80" + MASK),
    "wrong: ping in fragments": wrong(1002, b"\x09\x80" + MASK),
    "wrong: ping of 126 bytes": wrong(1002, b"\x89\xfe\x00\x7e" + MASK),
    "wrong: length not minimal": wrong(1002, b"\x82\xfe\x00\x05" + MASK),
    "wrong: length with the top bit": wrong(1002, b"\x82\xff\x80" + bytes(7) + MASK),
    "wrong: close code 1005": wrong(1002, b"\x88\x82" + MASK + b"\x03\xed"),
    "wrong: close body of one byte": wrong(1002, b"\x88\x81" + MASK + b"\x03"),
    "wrong: close reason not UTF-8": wrong(1007, b"\x88\x83" + MASK + b"\x03\xe8\xff"),
    "wrong: compressed, the tail cut": wrong_deflate(1007, (0xC1, deflated(TEXT[:5000].encode())[:-3])),
    "wrong: compressed, cut to half": wrong_deflate(1007, (0xC2, deflated(BINARY[:300])[:130])),
    "wrong: compressed, no payload": wrong_deflate(1007, (0xC1, b"")),
    "wrong: compressed, no payload in fragments": wrong_deflate(1007, (0x42, b""), (0x80, b"")),
    "wrong: compressed, not UTF-8": wrong_deflate(1007, (0xC1, deflated(b"abc\xff"))),
    "wrong: RSV1 on a continuation": wrong_deflate(1002, (0x41, deflated(b"one")), (0xC0, b"\x00")),
    "wrong: RSV1 on a ping": wrong_deflate(1002, (0xC9, b"")),
    "wrong: a bomb of 17 MiB": wrong_deflate(1009, (0xC2, deflated(bytes(17 * MIB)))),
    "wrong: a bomb of 17 MiB in fragments": wrong_deflate(
        1009, (0x42, deflated(bytes(17 * MIB))[:9000]), (0x80, deflated(bytes(17 * MIB))[9000:])),
    "wrong: 1 TiB announced": wrong(1009, b"\x82\xff" + (1 << 40).to_bytes(8, "big") + MASK),
}


async def run():
    failed = 0
    for name, case in CASES.items():
        try:
            await asyncio.wait_for(case(), 300)
            print(f"ok {name}", flush=True)
        except Exception as error:  # one case must not hide the next
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
    return failed


if URL == "--broadcast":
    MEMBERS = [(url, json.loads(parameters)) for url, parameters in zip(sys.argv[3::2], sys.argv[4::2])]
    CASES = {"broadcast": lambda: run_broadcast(int(sys.argv[2]), MEMBERS)}
elif "--mix" in sys.argv:
    CASES = {"mix": lambda: run_mix(int(sys.argv[3]), json.loads(sys.argv[4]))}
else:
    print(f"version {websockets.__version__}")
sys.exit(1 if asyncio.run(run()) else 0)

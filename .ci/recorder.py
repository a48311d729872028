"""A proxy that records, and an audit of what it recorded: what two WebSocket peers agreed on, and whether they kept to it.

`Recorder` stands between a client and a server. `audit` reads the bytes of a connection without either's code: the two
extension lines, every frame, every message, inflated by Python's zlib as agreed (RFC 7692, section 7). It fails on
  - RSV1 where it is not allowed (6: only on the first frame of a data message), an unmasked client frame, a masked server frame;
  - a message that needs an earlier one's context where none may be kept, or no such message at all where it may be;
  - a reference farther back than the agreed window: inflated in small steps, between which zlib keeps only the window.
"""

import re
import socket
import threading
import zlib
from collections import namedtuple

TAIL = b"\x00\x00\xff\xff"
NAMES = ["server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits"]
Agreement = namedtuple("Agreement", ["server_fresh", "client_fresh", "server_bits", "client_bits"])
# One direction: messages as (opcode, bytes), how many of them had RSV1, bytes of the messages, bytes of the frames' payloads.
Flow = namedtuple("Flow", ["messages", "compressed", "plain", "wire"])


class Recording:
    """The bytes of one connection: `up` from the client, `down` from the server."""

    def __init__(self):
        self.up, self.down, self.left = bytearray(), bytearray(), 2
        self.ended = threading.Event()


class Recorder:
    """Passes connections on to `server`. `offer` replaces the client's line of extensions; `inject` is written to the server
    after the request head, as if the client had sent it."""

    def __init__(self, server, offer=None, inject=b""):
        self.server, self.offer, self.inject, self.recordings = server, offer, inject, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection((self.server.host, self.server.port))
            recording = Recording()
            self.recordings.append(recording)
            for way in ((client, server, recording.up, True), (server, client, recording.down, False)):
                way[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.pump, args=(recording, *way), daemon=True).start()

    def pump(self, recording, source, sink, record, is_up):
        head = b""
        try:
            while data := source.recv(1 << 16):
                if is_up and head is not None:
                    head += data
                    if b"\r\n\r\n" not in head:
                        continue
                    data, head = self.rewrite(head), None
                record += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        recording.left -= 1
        if recording.left == 0:
            source.close()
            sink.close()
            recording.ended.set()

    def rewrite(self, head):
        if self.offer is not None:
            line = f"\r\nSec-WebSocket-Extensions: {self.offer}".encode()
            head, count = re.subn(rb"(?i)\r\nsec-websocket-extensions:[^\r]*", line, head)
            assert count == 1, head
        head, end, rest = head.partition(b"\r\n\r\n")
        return head + end + self.inject + rest

    def last(self):
        """The newest connection, once it has ended."""
        assert self.recordings, "no connection came"
        assert self.recordings[-1].ended.wait(60), "the connection was left open"
        return self.recordings[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def agreement_of(line):
    """The agreement in the answer to an offer; what it leaves out means context takeover and 15 bits."""
    name, *parameters = [part.strip() for part in line.split(";")]
    assert name == "permessage-deflate", line
    values = dict((parameter.split("=") + [True])[:2] for parameter in parameters)
    assert set(values) <= set(NAMES) and len(values) == len(parameters), line
    return Agreement(NAMES[0] in values, NAMES[1] in values, int(values.get(NAMES[2], 15)), int(values.get(NAMES[3], 15)))


def extensions_of(head):
    found = re.findall(rb"(?i)\r\nsec-websocket-extensions:([^\r]*)", head)
    return b", ".join(found).decode().strip()


def frames(data, masked):
    at = 0
    while at < len(data):
        first, length, start = data[at], data[at + 1] & 0x7F, at + 2
        assert (data[at + 1] >> 7) == masked, "a mask is missing, or unexpected"
        if length >= 126:
            width = 2 if length == 126 else 8
            length, start = int.from_bytes(data[start : start + width], "big"), start + width
        key, start = (data[start : start + 4], start + 4) if masked else (b"", start)
        payload = bytes(data[start : start + length])
        assert len(payload) == length, "the connection ended inside a frame"
        if masked and length:
            keys = (bytes(key) * (length // 4 + 1))[:length]
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(length, "big")
        yield first, payload
        at = start + length


def messages(data, masked):
    """(opcode, whether RSV1 was set, payload as on the wire) of each data message."""
    opcode, marked, parts = None, False, []
    for first, payload in frames(data, masked):
        kind, rsv = first & 0x0F, first & 0x70
        assert rsv == 0 or (rsv == 0x40 and kind in (1, 2)), f"RSV {rsv >> 4} on opcode {kind}"
        if kind >= 8:
            continue
        if kind:
            opcode, marked, parts = kind, bool(rsv), []
        parts.append(payload)
        if first & 0x80:
            yield opcode, marked, b"".join(parts)


def inflate(inflater, payload, bits):
    """One message, strictly: within one step zlib would accept a reference to anything that step itself produced."""
    if bits == 15:
        out = [inflater.decompress(payload + TAIL)]
    else:
        step, out = (1 if len(payload) < 2048 else 32), []
        data = payload + TAIL
        for at in range(0, len(data), 1024):
            piece = data[at : at + 1024]
            while True:
                out.append(inflater.decompress(piece, step))
                piece = inflater.unconsumed_tail
                if len(out[-1]) < step and not piece:
                    break
    assert not inflater.eof and not inflater.unused_data, "a final block"
    return b"".join(out)


def flow_of(data, masked, fresh, bits):
    """A direction, inflated as agreed."""
    inflater, flow, marked_ones, plain, wire, leans_back = zlib.decompressobj(-bits), [], 0, 0, 0, False
    for opcode, marked, payload in messages(data, masked):
        wire += len(payload)
        if marked:
            marked_ones += 1
            if fresh:
                inflater = zlib.decompressobj(-bits)
            elif not leans_back:
                try:
                    zlib.decompressobj(-15).decompress(payload + TAIL)
                except zlib.error:
                    leans_back = True
            payload = inflate(inflater, payload, bits)
        plain += len(payload)
        flow.append((opcode, payload))
    assert fresh or leans_back, "the context could be kept, but no message refers to an earlier one"
    return Flow(flow, marked_ones, plain, wire)


def audit(recording):
    """(offer, answer, agreement, up, down); raises AssertionError or zlib.error if anything is wrong."""
    up_head, _, up = bytes(recording.up).partition(b"\r\n\r\n")
    down_head, _, down = bytes(recording.down).partition(b"\r\n\r\n")
    answer = extensions_of(down_head)
    agreed = agreement_of(answer)
    up = flow_of(up, True, agreed.client_fresh, agreed.client_bits)
    down = flow_of(down, False, agreed.server_fresh, agreed.server_bits)
    return extensions_of(up_head), answer, agreed, up, down


def audit_echo(recording, count):
    """The same for a connection on which `count` messages were echoed, and the figures as one line."""
    offer, answer, agreed, up, down = audit(recording)
    assert len(up.messages) == len(down.messages) == count, f"{len(up.messages)} up, {len(down.messages)} down"
    assert up.messages == down.messages, "an echo is not what was sent"
    for way, flow in (("up", up), ("down", down)):
        # Half of the messages are repetitive, apart from those of a few bytes. The others are noise, and letters that a quick
        # compressor cannot shorten: a sender that gains nothing may send them as they are.
        assert flow.compressed > 0.4 * count, f"{way}: only {flow.compressed} with RSV1"
        assert flow.wire < 0.75 * flow.plain, f"{way}: {flow.plain} bytes went as {flow.wire}"
    figures = [f"{way} {flow.compressed} with RSV1, {flow.plain} -> {flow.wire}" for way, flow in (("up", up), ("down", down))]
    return offer, answer, agreed, "; ".join(figures)


def audit_itself():
    """Checks that the audit notices what it is for, with streams made here that break each rule. Returns what it missed."""

    def stream(bits, fresh, mark=0xC2):
        out, compressor = b"", zlib.compressobj(wbits=-bits)
        for n in range(4):
            message = bytes(byte * 37 % 251 for byte in range(700)) + b"again"
            if fresh:
                compressor = zlib.compressobj(wbits=-bits)
            payload = (compressor.compress(message * 2) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
            assert 126 <= len(payload) < 65536 or n, len(payload)
            head = bytes([mark if n else 0xC2, len(payload)]) if len(payload) < 126 else None
            out += (head or bytes([mark if n else 0xC2, 126]) + len(payload).to_bytes(2, "big")) + payload
        return out

    flow_of(stream(9, True), False, True, 9)
    flow_of(stream(15, False), False, False, 15)
    missed = []
    for what, data, fresh, bits in (
        ("a window too large", stream(15, False), False, 9),
        ("a context that was to be dropped", stream(15, False), True, 15),
        ("no context where one is allowed", stream(15, True), False, 15),
        ("RSV1 on a ping", stream(15, True, mark=0xC9), True, 15),
    ):
        try:
            flow_of(data, False, fresh, bits)
            missed.append(what)
        except (AssertionError, zlib.error):
            pass
    return missed

"""What the scripts here share: building an example, starting it, finding out where it listens, stopping it, keeping score.

Every server example prints one line with the URL it listens on, for instance `listening on ws://127.0.0.1:9001`;
given port 0 it prints the port it got. The scripts start everything that way, so they can run side by side.

Environment:
  CARGO       the cargo to build with (default `cargo`)
  CI          `true`: a missing program is a failure; otherwise it is skipped, and a line says so
  and a variable for each program (ECHO_SERVER, ECHO_CLIENT, AUTOBAHN_CLIENT, CHAT): a command line to run instead of our
  example. That way a script can be tried against a program known to be right, or wrong.
"""

import os
import pathlib
import random
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / ".ci" / "peers"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
OUT = TARGET / "ci"
IN_CI = os.environ.get("CI") == "true"

# Exit status of a script that could not do its work for lack of a program (the automake convention).
SKIPPED = 77


class Missing(Exception):
    """A program that is not on this machine and could not be installed."""


def example(variable, package, name):
    """The command line of an example, built for release; `variable` of the environment may name another program."""
    if os.environ.get(variable):
        return shlex.split(os.environ[variable])
    cargo = shlex.split(os.environ.get("CARGO", "cargo"))
    # All at once, and always the same ones: another choice of packages is another choice of features, and so another build.
    command = cargo + ["build", "--quiet", "--release", "--workspace", "--examples"]
    built = TARGET / "release" / "examples" / name
    if subprocess.run(command, cwd=ROOT).returncode != 0 or not built.exists():
        sys.exit(f"the example {name} of {package} does not build")
    return [str(built)]


def free_port():
    """A port nobody listens on. Only for programs that cannot be given port 0 and asked afterwards.

    Not an ephemeral one: the system may have given that to a connection by the time it is used.
    """
    for _ in range(1000):
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("no port is free")


class Server:
    """A program that was started and has printed where it listens. Use it in a `with`: it is stopped at the end of the block."""

    def __init__(self, command, name="server", wait=60, stdin=subprocess.DEVNULL):
        self.name = name
        self.lines = []
        self.process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
        )
        self.url = None
        listening = threading.Event()

        def follow():
            for line in self.process.stdout:
                self.lines.append(line.rstrip("\n"))
                found = re.search(r"(?:ws|http)://([^\s/:]+):(\d+)", line)
                if found and not listening.is_set():
                    self.url = found.group(0)
                    self.host, self.port = found.group(1), int(found.group(2))
                    listening.set()
            listening.set()

        threading.Thread(target=follow, daemon=True).start()
        if not listening.wait(wait) or self.url is None:
            self.stop()
            raise RuntimeError(f"{name} did not say where it listens; it said: {self.lines}")

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def wait_for_line(self, pattern, since=0, wait=60):
        """The first line from index `since` that matches, or None."""
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            for line in self.lines[since:]:
                found = re.search(pattern, line)
                if found:
                    return found
            time.sleep(0.01)
        return None

    def stop(self):
        if self.running():
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Score:
    """Counts the cases and prints a line for each; `finish` prints the totals and returns the exit status."""

    def __init__(self, what):
        self.what, self.passed, self.failed = what, 0, []

    def case(self, name, ok, seen=""):
        print(f"  {'ok  ' if ok else 'FAIL'} {name}{': ' + str(seen) if seen != '' else ''}", flush=True)
        if ok:
            self.passed += 1
        else:
            self.failed.append(name)
        return ok

    def finish(self):
        if self.passed == 0 and not self.failed:
            self.failed.append("no case was run")
        print(f"{self.what}: {self.passed} passed, {len(self.failed)} failed", flush=True)
        return 1 if self.failed else 0


def main(work):
    """Runs `work`, which returns an exit status; if a program is missing, prints which and exits as skipped."""
    try:
        sys.exit(work())
    except Missing as missing:
        print(f"skipped: {missing}", flush=True)
        sys.exit(SKIPPED)


def python_with(package):
    """A Python in a virtual environment that has this package (`name==version`) from the package registry."""
    home = OUT / "python"
    python = home / "bin" / "python"
    if not python.exists():
        run_or_miss("a Python virtual environment", [sys.executable, "-m", "venv", str(home)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run_or_miss(f"the Python package {package}", pip + [package])
    return str(python)


def node_with(package):
    """Node, and a folder whose `node_modules` has this package (`name@version`)."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise Missing("node and npm are not installed")
    # One folder per package: npm removes packages it was not told about.
    home = OUT / "node" / package
    home.mkdir(parents=True, exist_ok=True)
    quiet = ["--silent", "--no-audit", "--no-fund", "--no-save", "--prefix", str(home)]
    run_or_miss(f"the npm package {package}", [npm, "install"] + quiet + [package])
    return node, home


def run_or_miss(what, command):
    """Runs an installation, and retries if it fails: a registry may be busy."""
    for pause in (0, 5, 30):
        time.sleep(pause)
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
        except subprocess.TimeoutExpired:
            said = "it did not finish within 900 s"
            continue
        if done.returncode == 0:
            return
        said = done.stdout
    raise Missing(f"could not install {what}:\n{said}")


# ------------------------------------------------------------------------------------------------ a peer that sends raw bytes


def frame(opcode, payload=b"", fin=True, rsv=0, mask=b"\x37\xfa\x21\x3d", announce=None):
    """One frame as in RFC 6455, 5.2, or a wrong one; `announce` is a length other than the payload's."""
    length = len(payload) if announce is None else announce
    first = (0x80 if fin else 0) | (rsv << 4) | opcode
    bit = 0x80 if mask else 0
    if length < 126:
        head = struct.pack("!BB", first, bit | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, bit | 127, length)
    if not mask:
        return head + payload
    keys = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")
    return head + mask + masked.to_bytes(len(payload), "big")


class Peer:
    """A socket that sends whatever bytes it is told to, with or without a handshake first."""

    def __init__(self, server, wait=60, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(wait)
        self.socket.connect((server.host, server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host = f"{server.host}:{server.port}"
        self.buffer = b""

    def head(self, extra="", path="/"):
        return (
            f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
        ).encode()

    def shake_hands(self, extra=""):
        self.socket.sendall(self.head(extra))
        head = self.read_head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, head
        return self

    def read_head(self):
        """The response head, or what arrived before the connection ended."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                break
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head

    def fill(self):
        data = self.socket.recv(1 << 16)
        self.buffer += data
        return data

    def send(self, data):
        self.socket.sendall(data)

    def read_frame(self):
        """(opcode, payload) of the next whole frame, unchecked; None when the connection ended."""
        while True:
            if len(self.buffer) >= 2:
                length, start = self.buffer[1] & 0x7F, 2
                if length == 126:
                    length, start = int.from_bytes(self.buffer[2:4], "big"), 4
                elif length == 127:
                    length, start = int.from_bytes(self.buffer[2:10], "big"), 10
                if len(self.buffer) >= max(start, start + length):
                    opcode, payload = self.buffer[0] & 0x0F, self.buffer[start : start + length]
                    self.buffer = self.buffer[start + length :]
                    return opcode, payload
            if not self.fill():
                return None

    def ending(self):
        """How the connection ended, after everything that still arrived: `1009`, `close without code`, `end of stream`, `reset`."""
        seen = None
        try:
            while (got := self.read_frame()) is not None:
                if got[0] == 8 and seen is None:
                    seen = str(int.from_bytes(got[1][:2], "big")) if len(got[1]) >= 2 else "close without code"
        except ConnectionError:
            return seen or "reset"
        except TimeoutError:
            return f"{seen}, connection left open" if seen else "left open"
        return seen or "end of stream"

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def scratch(prefix):
    """A new folder that is removed at the end of the `with`."""
    # A program that was stopped a moment ago may still write into it.
    return tempfile.TemporaryDirectory(prefix=f"ws-{prefix}-", ignore_cleanup_errors=True)

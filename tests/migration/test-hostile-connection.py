#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A connection that is no migration is refused, with a text that says why, and the destination goes on listening."""

import socket
import struct

import migdtest
from migd_process import wait_until

HEADER = b"QEVM" + struct.pack(">I", 3)
CONFIGURATION = b"\x07" + struct.pack(">I", 4) + b"none"
RETURN_PATH = b"\x08" + struct.pack(">HH", 1, 0)
PING = b"\x08" + struct.pack(">HHI", 2, 4, 0x6D696764)
OPENING = HEADER + CONFIGURATION + RETURN_PATH

# What is sent, and a word of the text.
CONNECTIONS = {
    "nothing": (b"", "closed"),
    "http": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "magic"),
    "zeros": (bytes(100000), "magic"),
    "half a header": (HEADER[:5], "offset"),
    "version 2": (b"QEVM" + struct.pack(">I", 2), "version 2"),
    "no configuration": (HEADER + b"\x01" + bytes(100), "configuration"),
    "configuration of 4 GiB": (HEADER + b"\x07" + struct.pack(">I", 0xFFFFFFFF) + b"x" * 1000, "machine name"),
    "another machine": (HEADER + b"\x07" + struct.pack(">I", 4) + b"q35\x1b", "machine"),
    "end after the configuration": (HEADER + CONFIGURATION, "offset"),
    "ping without a return path": (HEADER + CONFIGURATION + PING, "command"),
    "long ping": (OPENING + b"\x08" + struct.pack(">HH", 2, 0xFFFF) + bytes(70000), "length"),
    "package in the opening": (OPENING + b"\x08" + struct.pack(">HHI", 7, 4, 0xFFFFFFFF) + bytes(1000), "opening"),
    "section in the opening": (OPENING + b"\x02" + bytes(100), "section type"),
    "section without a name": (OPENING + b"\x01" + bytes(100), "idstr"),
    "another section first": (OPENING + b"\x01" + struct.pack(">IB", 1, 5) + b"block" + bytes(8), "'block'"),
    "pings without end": (OPENING + (b"\x08" + struct.pack(">HHI", 2, 4, 1)) * 100, "commands"),
    "unknown subsection": (HEADER + CONFIGURATION + b"\x05\x0fconfiguration/x" + bytes(4), "subsection"),
    "a million capabilities": (HEADER + CONFIGURATION + b"\x05\x1aconfiguration/capabilities"
                               + struct.pack(">II", 1, 1000000), "caps_count"),
    "hello of no length": (OPENING + PING + b"\x08" + struct.pack(">HH", 0x4D01, 0) + bytes(100), "hello|guest name"),
}


def send(port, data):
    with socket.create_connection(("127.0.0.1", port)) as peer:
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            peer.settimeout(0.5)
            while peer.recv(65536):
                pass
        except OSError:
            pass  # reset, since it did not read all of it


def test_refused_and_still_listening(t):
    src, dst = t.pair(working_set="4M")
    uri = t.listen(dst)
    port = int(uri.rpartition(":")[2])
    for name, (data, word) in CONNECTIONS.items():
        seen = len(dst.daemon.log_text())
        send(port, data)
        line = wait_until(lambda: dst.daemon.log_text()[seen:].strip(), f"the log says something about: {name}")
        t.check(any(w in line for w in word.split("|")), f"{name}: {line!r} does not mention {word!r}")
        t.check(dst.status() == "setup", f"{name}: it goes on listening: {dst.migration()}")
        wait_until(lambda: dst.migration().get("error-desc"), f"query-migrate shows why: {name}")
    src.command("migrate", {"uri": uri})
    t.check(t.wait_end(src)["status"] == "completed", f"the real one gets through: {src.migration()}")
    t.check("error-desc" not in src.migration(), f"and nothing is held against it: {src.migration()}")
    t.assert_memory_verified(dst)


def test_random_bytes(t):
    random = migdtest.seed()
    src, dst = t.pair(working_set="4M")
    uri = t.listen(dst)
    for _ in range(50):
        prefix = random.choice((b"", HEADER, HEADER + CONFIGURATION, OPENING, OPENING + PING))
        send(int(uri.rpartition(":")[2]), prefix + random.randbytes(random.randrange(1, 5000)))
    src.command("migrate", {"uri": uri})
    t.check(t.wait_end(src)["status"] == "completed", f"the real one gets through: {src.migration()}")
    t.assert_memory_verified(dst)


def test_silent_connection_is_hung_up_on(t):
    """Who connects and says nothing holds the others up for a few seconds only."""
    src, dst = t.pair()
    uri = t.listen(dst)
    with socket.create_connection(("127.0.0.1", int(uri.rpartition(":")[2]))) as silent:
        silent.settimeout(30)
        while silent.recv(65536):
            pass
    src.command("migrate", {"uri": uri})
    t.check(t.wait_end(src)["status"] == "completed", f"the real one gets through: {src.migration()}")


migdtest.main()

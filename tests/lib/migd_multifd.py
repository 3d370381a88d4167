# SPDX-License-Identifier: Apache-2.0
"""Parallel channels: turning them on, and a peer's bytes on one of them."""

import socket
import struct

MAGIC = 0x11223344
PAGES = 128
HEADER_LEN = 320 + 8 * PAGES
PAGE = 4096
SYNC = 1


def on(*sides, channels=2, **parameters):
    """Capability multifd and its parameters, on Vmms and QEMUs alike."""
    for side in sides:
        side.command("migrate-set-capabilities", {"capabilities": [{"capability": "multifd", "state": True}]})
        side.command("migrate-set-parameters",
                     {"multifd-channels": channels, **{k.replace("_", "-"): v for k, v in parameters.items()}})


def hello(channel=0, uuid=bytes(16), magic=MAGIC, version=1, handover=bytes(16), channels=0):
    return (struct.pack(">II16sB", magic, version, uuid, channel) + bytes(7) + handover + bytes([channels])).ljust(64, b"\0")


def packet(block="r0", normal=(), zero=(), payload=None, flags=0, magic=MAGIC, version=1, alloc=None, size=None,
           n_normal=None, n_zero=None):
    """A data packet; what is not given is as it should be."""
    if payload is None:
        payload = b"".join(bytes([1 + i % 255]) * PAGE for i in range(len(normal)))
    offsets = [*normal, *zero]
    n = len(offsets)
    head = struct.pack(">IIIIIIQI", magic, version, flags, (PAGES if n else 0) if alloc is None else alloc,
                       len(normal) if n_normal is None else n_normal, len(payload) if size is None else size, 0,
                       len(zero) if n_zero is None else n_zero)
    head = head.ljust(64, b"\0") + block.encode().ljust(256, b"\0")
    return (head + b"".join(struct.pack(">Q", o) for o in offsets)).ljust(HEADER_LEN, b"\0") + payload


def sync():
    return packet(block="", flags=SYNC)


def connect(uri):
    """A plain socket to a tcp: or unix: URI."""
    if uri.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.connect(uri[5:])
        return s
    host, port = uri[4:].rsplit(":", 1)
    return socket.create_connection((host, int(port)))

# SPDX-License-Identifier: Apache-2.0
"""A host's shared port, and what can be said at it (docs/shared-port.md)."""

import contextlib
import socket
import struct

from migd_process import wait_until

LISTEN = ("--listen", "tcp:127.0.0.1:0")


def preamble(name, handover_id=bytes(16), magic=0x4D694764, version=1, flags=0, length=None):
    name = name.encode()
    return struct.pack(">IHH16sB127s", magic, version, flags, handover_id,
                       len(name) if length is None else length, name)


def listener(daemon, index=0):
    """A shared port's entry in query-host-listeners, `refused` as {reason: count}."""
    entry = daemon.qmp.command("query-host-listeners")[index]
    entry["refused"] = {r["reason"]: r["count"] for r in entry["refused"]}
    return entry


def port(daemon, index=0):
    return int(wait_until(lambda: listener(daemon, index).get("address"), "the shared port is open")["port"])


def uri(daemon, guest):
    """Where to migrate to; guest: None for the name of the guest that is migrated."""
    return f"tcp:127.0.0.1:{port(daemon)},guest" + ("" if guest is None else f"={guest}")


def wait_refused(daemon, reason, count=1, timeout=20):
    wait_until(lambda: listener(daemon)["refused"].get(reason, 0) >= count,
               f"{count} refused as {reason}", timeout)


def say(daemon, data, end=False, wait=2):
    """Say DATA at the shared port, and then nothing more (`end`); returns what comes back until it is closed."""
    back = b""
    with socket.create_connection(("127.0.0.1", port(daemon))) as peer:
        peer.settimeout(wait)
        try:
            peer.sendall(data)
            if end:
                # What was answered before a reset can be read behind it.
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_WR)
            while piece := peer.recv(65536):
                back += piece
        except OSError:
            pass
    return back


def error_text(back):
    """The text of the error message that BACK begins with; None: it does not."""
    if len(back) < 4:
        return None
    kind, length = struct.unpack(">HH", back[:4])
    return back[4:4 + length].decode() if kind == 0x4D03 else None

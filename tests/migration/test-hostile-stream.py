#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""Bytes that are no stream, or only part of one, end that migration with a text that says where, and nothing else."""

import socket
import struct

import migdtest
from migd_process import wait_until

HEADER = b"QEVM" + struct.pack(">I", 3)
CONFIGURATION = b"\x07" + struct.pack(">I", 4) + b"none"
RETURN_PATH = b"\x08" + struct.pack(">HH", 1, 0)


def receive(t, sent, words=(), reset=False):
    """A destination that is sent these bytes, and then the end of the stream."""
    daemon = t.daemon("b")
    other = t.vmm(daemon, name="other", payload="idle")
    dst = t.vmm(daemon, incoming=True)
    port = int(t.listen(dst).rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(sent)
        if not reset:
            peer.shutdown(socket.SHUT_WR)
            text = t.assert_failed(dst, *words)
    if reset:
        text = t.assert_failed(dst, *words)
    t.check(text in daemon.log_text(), f"the log has {text!r}")
    t.assert_stopped(dst)
    t.assert_runs(other)
    wait_until(lambda: not daemon.workers(), "the worker is gone")


def test_nothing(t):
    receive(t, b"")


def test_http(t):
    receive(t, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ["magic"])


def test_zeros(t):
    receive(t, bytes(100000), ["magic"])


def test_wrong_version(t):
    receive(t, b"QEVM" + struct.pack(">I", 2), ["version"])


def test_half_a_header(t):
    receive(t, HEADER[:5])


def test_configuration_too_long(t):
    receive(t, HEADER + b"\x07" + struct.pack(">I", 0xFFFFFFFF) + b"x" * 1000)


def test_ends_after_configuration(t):
    receive(t, HEADER + CONFIGURATION)


def test_unknown_section(t):
    receive(t, HEADER + CONFIGURATION + RETURN_PATH + b"\x55" + bytes(100), ["section"])


def test_ping_without_return_path(t):
    receive(t, HEADER + CONFIGURATION + b"\x08" + struct.pack(">HHI", 2, 4, 1))


def test_command_too_long(t):
    receive(t, HEADER + CONFIGURATION + RETURN_PATH + b"\x08" + struct.pack(">HH", 2, 0xFFFF) + bytes(70000))


def test_package_too_large(t):
    receive(t, HEADER + CONFIGURATION + RETURN_PATH + b"\x08" + struct.pack(">HHI", 7, 4, 0xFFFFFFFF) + bytes(100000))


def test_random_bytes(t):
    random = migdtest.seed()
    daemon = t.daemon("b")
    for _ in range(20):
        dst = t.vmm(daemon, incoming=True, payload="idle", memory="32M")
        port = int(t.listen(dst).rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as peer:
            prefix = random.choice((b"", HEADER, HEADER + CONFIGURATION, HEADER + CONFIGURATION + RETURN_PATH))
            try:
                peer.sendall(prefix + random.randbytes(random.randrange(1, 5000)))
                peer.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            t.assert_failed(dst)
        t.assert_stopped(dst, 0.02)
        dst.kill()
    t.check(daemon.running(), "the daemon runs")


migdtest.main()

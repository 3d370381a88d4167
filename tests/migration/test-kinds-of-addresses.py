#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""A guest goes over every kind of socket, and socket-address says where the destination listens."""

import os
import socket

import migdtest
from migd_process import wait_until

ANY = 4294967295
MPTCP = 262  # IPPROTO_MPTCP


def listen(t, dst, arguments, fds=(), **expected):
    """migrate-incoming; its socket-address, of which `expected` must be true."""
    if fds:
        dst.daemon.qmp.command("getfd", {"fdname": "listener"}, fds=fds)
    dst.command("migrate-incoming", arguments if isinstance(arguments, dict) else {"uri": arguments})
    found = dst.migration().get("socket-address")
    t.check(found and len(found) == 1, f"{arguments}: one address, at once: {found}")
    for name, value in expected.items():
        t.check(found[0].get(name) == value, f"{arguments}: {name} is {value}: {found}")
    return found[0]


def channels(**addr):
    return {"channels": [{"channel-type": "main", "addr": {"transport": "socket", **addr}}]}


def go(t, src, dst, arguments):
    src.command("migrate", arguments if isinstance(arguments, dict) else {"uri": arguments})
    for side in src, dst:
        info = t.wait_end(side)
        t.check(info["status"] == "completed", f"{arguments}: {side.label}: {info}")
    t.assert_only_runs(dst, src)


def test_any_port(t):
    src, dst = t.pair(working_set="1M")
    at = listen(t, dst, "tcp:127.0.0.1:0", type="inet", host="127.0.0.1", ipv4=True, ipv6=False)
    t.check(1024 <= int(at["port"]) < 65536, f"a port was chosen: {at}")
    go(t, src, dst, f"tcp:127.0.0.1:{at['port']}")


def test_port_of_a_range(t):
    src, dst = t.pair(working_set="1M")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        at = listen(t, dst, channels(type="inet", host="127.0.0.1", port=str(port), to=min(port + 50, 65535)), type="inet")
        t.check(port < int(at["port"]) <= port + 50, f"another of the range: {at}")
        go(t, src, dst, channels(type="inet", host="127.0.0.1", port=at["port"], numeric=True))


def test_ipv6(t):
    src, dst = t.pair(working_set="1M")
    at = listen(t, dst, "tcp:[::1]:0", type="inet", host="::1", ipv4=False, ipv6=True)
    go(t, src, dst, channels(type="inet", host="::1", port=at["port"]))


def test_any_address(t):
    """IPv6's, which IPv4 reaches as well."""
    src, dst = t.pair(working_set="1M")
    at = listen(t, dst, "tcp::0", type="inet", host="::")
    go(t, src, dst, f"tcp:127.0.0.1:{at['port']}")


def test_unix(t):
    src, dst = t.pair(working_set="1M")
    path = os.path.join(t.dir, "with,comma=and:colon")
    listen(t, dst, "unix:" + path, type="unix", path=path, abstract=None)
    go(t, src, dst, channels(type="unix", path=path))


def test_abstract_unix(t):
    src, dst = t.pair(working_set="1M")
    name = os.path.basename(t.dir)
    listen(t, dst, channels(type="unix", path=name, abstract=True), type="unix", path=name, abstract=True, tight=True)
    go(t, src, dst, "unix-abstract:" + name)


def test_padded_abstract_unix(t):
    src, dst = t.pair(working_set="1M")
    name = os.path.basename(t.dir)
    listen(t, dst, "unix-abstract-padded:" + name, type="unix", path=name, abstract=True, tight=False)
    src.command("migrate", {"uri": "unix-abstract:" + name})
    t.assert_failed(src, "refused")
    go(t, src, dst, channels(type="unix", path=name, abstract=True, tight=False))


def test_listening_descriptor(t):
    src, dst = t.pair(working_set="1M")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listen(t, dst, "fd:listener", fds=[server.fileno()], type="inet", host="127.0.0.1", port=str(port))
    go(t, src, dst, f"tcp:127.0.0.1:{port}")


def test_multipath_tcp(t):
    src, dst = t.pair(working_set="1M")
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP).close()
    except OSError:
        t.assert_refused(dst, "migrate-incoming", {"uri": "tcp:127.0.0.1:0,mptcp"}, "no Multipath TCP")
        return
    at = listen(t, dst, "tcp:127.0.0.1:0,mptcp", type="inet", mptcp=True)
    before = connections()
    go(t, src, dst, f"tcp:127.0.0.1:{at['port']},mptcp")
    t.check(connections() > before, "the kernel counted a connection of Multipath TCP")


def connections():
    """Handshakes of Multipath TCP that were answered so far."""
    with open("/proc/net/netstat") as f:
        names, values = [line.split() for line in f if line.startswith("MPTcpExt:")]
    return int(values[names.index("MPCapableACKRX")])


def test_multipath_tcp_meets_tcp(t):
    """A side without it is spoken to by TCP."""
    src, dst = t.pair(working_set="1M")
    at = listen(t, dst, "tcp:127.0.0.1:0", type="inet", mptcp=None)
    src.command("migrate", {"uri": f"tcp:127.0.0.1:{at['port']},mptcp"})
    info = t.wait_end(src)
    if info["status"] == "failed":
        t.check("no Multipath TCP" in info["error-desc"], f"{info}")
        return
    t.assert_only_runs(dst, src)


def test_vsock(t):
    """Where the kernel has it; the lab has a migration over it."""
    _, dst = t.pair(working_set="1M")
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError:
        t.assert_refused(dst, "migrate-incoming", {"uri": f"vsock:{ANY}:{ANY}"}, "no vsock")
        return
    at = listen(t, dst, f"vsock:{ANY}:{ANY}", type="vsock", cid=str(ANY))
    t.check(1024 <= int(at["port"]) < ANY, f"a port was chosen: {at}")
    dst.command("migrate_cancel")
    wait_until(lambda: dst.status() == "cancelled", "the destination stops listening")


migdtest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""A thousand clients are served; too many, too much and too fast are each stopped at its limit, and nobody else notices."""

import json
import os
import select
import socket
import time

import attach_peer
import migd_reports
import migdtest
import qmp_clients
from migd_process import SLOW, wait_until
from migd_qmp import QmpClosed


def status(client):
    return client.command("query-status")["status"]


def test_a_thousand_clients(t):
    daemon = qmp_clients.daemon(t, qmp={"max_clients": 1003})
    peer = attach_peer.attached(daemon, "g")
    watcher = daemon.qmp
    status(watcher)
    before = resident(daemon)
    # All at once: nobody is answered before everybody has connected.
    sockets = []
    for _ in range(1000):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60 * SLOW)
        s.connect(daemon.qmp_path)
        s.sendall(b'{"execute": "qmp_capabilities"}{"execute": "query-status", "id": 7}')
        sockets.append(s)
    files = [s.makefile("rb") for s in sockets]
    for f in files:
        t.check(b'"QMP"' in f.readline() and b'{"return": {}}' in f.readline(), "greeting and negotiation")
        t.check(b'"running": true' in f.readline(), "the answer")
    peer.event(attach_peer.STOPPED, run_state=attach_peer.RS_PAUSED)
    for f in files:
        t.check(json.loads(f.readline())["event"] == "STOP", "the event")
    # An idle client takes few KiB.
    used = (resident(daemon) - before) // 1000
    t.check(used < 16 << 10 or migd_reports.INSTRUMENTED, f"{used} bytes each")
    # The limit, exactly: with this test's own client there is room for two more.
    extra = [daemon.connect() for _ in range(2)]
    with socket.socket(socket.AF_UNIX) as one_more:
        one_more.connect(daemon.qmp_path)
        text = one_more.makefile().read()
    t.check("too many clients: there are 1003 already" in text, text)
    extra[0].close()
    wait_until(lambda: connects(daemon), "there is room again")
    for s in sockets:
        s.close()
    t.check(status(watcher) == "paused", "the others are served")


def connects(daemon):
    try:
        daemon.connect().close()
        return True
    except (KeyError, QmpClosed, OSError, AssertionError):
        return False


def resident(daemon):
    """Bytes."""
    with open(f"/proc/{daemon.pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_large_and_deep_values(t):
    daemon = qmp_clients.daemon(t, qmp={"max_message_size": "64K", "max_nesting": 16})
    for id_bytes, error in (60000, None), (70000, "JSON token size limit exceeded"):
        client = daemon.connect()
        client.send(json.dumps({"execute": "query-version", "id": "x" * id_bytes}).encode())
        answer = client.receive()
        t.check(answer["error"]["desc"] == error if error else len(answer["id"]) == id_bytes, f"{id_bytes}: {str(answer)[:200]}")
    for depth, error in (15, None), (16, "JSON nesting depth limit exceeded"):
        client = daemon.connect()
        client.send(b'{"execute": "query-version", "id": ' + b"[" * depth + b"]" * depth + b"}")
        answer = client.receive()
        t.check((answer["error"]["desc"] == error) if error else "return" in answer, f"{depth}: {answer}")


def test_the_rate(t):
    daemon = qmp_clients.daemon(t, qmp={"max_rate": 50})
    flood = daemon.connect(negotiate=False)
    start = time.monotonic()
    flood.send(b'{"execute": "qmp_capabilities"}' + b'{"execute": "query-version"}' * 119)
    for _ in range(120):
        t.check("return" in flood.receive(), "never an error")
    took = time.monotonic() - start
    # A burst of 50, then 50 a second.
    t.check(took > 1.35, f"120 commands took {took} s")
    daemon.qmp.command("query-guests")
    before = cpu(daemon)
    flood.send(b'{"execute": "query-version"}' * 1000)
    time.sleep(1)
    t.check(cpu(daemon) - before < 0.5, f"it is busy with waiting: {cpu(daemon) - before} s")
    start = time.monotonic()
    daemon.qmp.command("query-guests")
    qmp_clients.configure(t, qmp={"max_rate": 0})
    daemon.qmp.command("reload-config")
    for _ in range(1000):
        flood.receive()
    t.check(time.monotonic() - start < 15 * SLOW, "a reload lifts it")


def cpu(daemon):
    """Seconds."""
    with open(f"/proc/{daemon.pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_who_does_not_read_is_dropped(t):
    daemon = qmp_clients.daemon(t)
    peer = attach_peer.attached(daemon, "g")
    reader, slow = daemon.connect(), daemon.connect()
    states = [(attach_peer.STOPPED, attach_peer.RS_PAUSED), (attach_peer.RESUMED, attach_peer.RS_RUNNING)]

    def dropped():
        for _ in range(500):
            for kind, state in states:
                peer.event(kind, run_state=state)
        # The others are served meanwhile, and have every event.
        status(reader)
        return select.select([slow.sock], [], [], 0)[0] and is_closed(slow.sock)
    wait_until(dropped, "a client that does not read is dropped", timeout=60)
    t.check("it does not read what is sent to it" in daemon.log_text(), "why")
    names = [e.name for e in reader.poll_events(1)]
    t.check(names[:4] == ["STOP", "RESUME"] * 2 and names.count("STOP") == names.count("RESUME") > 1000, f"{len(names)}")


def is_closed(sock):
    """The other side has closed it: then, and only then, a write fails."""
    try:
        sock.send(b" ", socket.MSG_DONTWAIT)
        return False
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_out_of_band_overtakes(t):
    daemon = qmp_clients.daemon(t)
    peer = attach_peer.attached(daemon, "g")
    client = daemon.connect(negotiate=False)
    client.command("qmp_capabilities", {"enable": ["oob"]})
    # A VMM that accepts and says nothing.
    path = os.path.join(t.dir, "vmm")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as vmm:
        vmm.bind(path)
        vmm.listen()
        client.send(json.dumps({"execute": "guest-attach", "arguments": {"id": "late", "path": path}, "id": 1}).encode())
        connection = vmm.accept()[0]
        client.send(b'{"execute": "query-version", "id": 2}')
        for n, command in enumerate(("migrate_cancel", "migrate-pause", "migrate-recover")):
            arguments = {"guest": "g", **({"uri": "tcp:127.0.0.1:0"} if command == "migrate-recover" else {})}
            client.send(json.dumps({"exec-oob": command, "arguments": arguments, "id": 10 + n}).encode())
            t.check(client.receive()["id"] == 10 + n, f"{command} waits behind another")
        connection.close()
        t.check([client.receive()["id"], client.receive()["id"]] == [1, 2], "the others keep their order")
    peer.sock.close()


migdtest.main(kvm=False)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""Who may announce a guest, and what strangers can say at the shared port: nothing of it starts anything."""

import contextlib
import json
import os
import socket
import struct

import migd_certs
import migd_shared
import migdtest
from migd_arrivals import Host
from migd_process import wait_until

GOOD = {"version": 1, "name": "g", "uuid": "00000000-0000-0000-0000-000000000000", "vcpus": 1, "memory": 64 << 20, "tls": False}


def preamble(name="g"):
    return migd_shared.preamble(name, flags=1)


def framed(body):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return struct.pack(">I", len(body)) + body


def answer(host, data, wait=8):
    """What is answered: the text of the refusal, or None."""
    back = migd_shared.say(host.daemon, data, wait=wait)
    return migd_shared.error_text(back)


def assert_unmoved(t, host, name="g"):
    t.check(host.called_for(name) is None, "the hook ran")
    wait_until(lambda: not host.heralds(), "no herald is left", timeout=20)
    t.check(host.daemon.running(), "the daemon lives")


def test_malformed(t):
    host = Host(t, "b")
    for what, data, word in [
            ("too long", struct.pack(">I", (128 << 10) + 1) + b"{" * 1000, "131073 bytes"),
            ("longest", struct.pack(">I", 0xFFFFFFFF), "4294967295 bytes"),
            ("empty", framed(b""), "0 bytes"),
            ("no JSON", framed(b"\xff" * 5000), "no JSON object"),
            ("nested", framed(b"[" * 100000), "no JSON object"),
            ("a list", framed([1]), "no JSON object"),
            ("nothing in it", framed({}), "missing"),
            ("of another type", framed({**GOOD, "vcpus": "one"}), "vcpus"),
            ("negative", framed({**GOOD, "memory": -1}), "memory"),
            ("no uuid", framed({**GOOD, "uuid": "x"}), "uuid"),
            ("twice the same", framed(json.dumps(GOOD)[:-1].encode() + b', "name": "h"}'), "no JSON object"),
            ("another guest", framed({**GOOD, "name": "h"}), "another guest")]:
        text = answer(host, preamble() + data)
        t.check(text and word in text, f"{what}: {text!r}")
    assert_unmoved(t, host)
    # What a newer migd may add is no harm.
    host.write_hook(before="exit 9")
    text = answer(host, preamble() + framed({**GOOD, "what-is-new": [1]}))
    t.check(text and "status 9" in text, f"{text!r}")


def test_slow_and_gone(t):
    """One that says nothing has its time; one that leaves is forgotten."""
    host = Host(t, "b")
    port = migd_shared.port(host.daemon)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(6)]
        for i, peer in enumerate(silent):
            peer.sendall(preamble() + framed(GOOD)[:4 + 10 * i])
        wait_until(lambda: len(host.heralds()) == 6, "they are heard")
        silent[0].close()
        wait_until(lambda: len(host.heralds()) == 5, "one left")
        wait_until(lambda: not host.heralds(), "their time is over", timeout=30)
    assert_unmoved(t, host)


def test_flood(t):
    """From one address: so many at once, no more; a source that is none of them is heard as soon as there is room."""
    host = Host(t, "b")
    port = migd_shared.port(host.daemon)
    with contextlib.ExitStack() as stack:
        for _ in range(120):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            peer.sendall(preamble())
        migd_shared.wait_refused(host.daemon, "too-many", 90)
        t.check(len(host.heralds()) <= 24, f"{len(host.heralds())} heralds")
    wait_until(lambda: not host.heralds(), "they are gone")
    host.write_hook(before="exit 9")
    t.check("status 9" in (answer(host, preamble() + framed(GOOD)) or ""), "the next one is heard")


def test_a_lying_destination(t):
    """What answers an announcement may say anything: the guest stays, and nobody waits for ever."""
    a = t.daemon("a")
    src = t.vmm(a, name="g", working_set="4M")
    t.assert_runs(src)
    for said, word in [(b"", "knows no announcements"), (b"HTTP/1.1 400 Bad\r\n\r\n", "the answer is none"),
                       (struct.pack(">HH", 0x4D03, 5) + b"a\x1b[2J", r"a\?\[2J"), (struct.pack(">HH", 0x4D03, 0xFFFF), "none"),
                       (struct.pack(">HH", 0x4D21, 0) * 1000, "knows no announcements")]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            src.command("migrate", {"uri": f"tcp:127.0.0.1:{server.getsockname()[1]}", "start-remote": True})
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(said)
                peer.shutdown(socket.SHUT_WR)
                t.assert_failed(src, word)
    t.assert_untouched(src)
    t.check(not a.workers(), "no worker was started")


class Tls:
    """Both hosts' own credentials."""

    def __init__(self, t, host, src, subject="/O=migd tests/CN=a", other_authority=False):
        ca = migd_certs.Authority(os.path.join(t.dir, "ca"))
        clients = migd_certs.Authority(os.path.join(t.dir, "ca2")) if other_authority else ca
        server, client = os.path.join(t.dir, "server"), os.path.join(t.dir, "client")
        ca.server(server, ["IP:127.0.0.1"])
        clients.client(client, subject)
        if other_authority:  # it trusts the server, which does not trust it
            ca.trust(client)
        add(host.daemon, "tls1", server, "server")
        add(src.daemon, "tls0", client, "client")
        src.daemon.qmp.command("host-set-parameters", {"tls-creds": "tls0"})
        host.daemon.qmp.command("host-set-parameters", {"tls-creds-incoming": "tls1"})


def add(daemon, name, directory, endpoint):
    daemon.qmp.command("object-add", {"qom-type": "tls-creds-x509", "id": name, "dir": directory, "endpoint": endpoint,
                                      "sanity-check": False})


def tls_pair(t, **options):
    host = Host(t, "b")
    a = t.daemon("a")
    src = t.vmm(a, name="g", working_set="4M")
    t.assert_runs(src)
    Tls(t, host, src, **options)
    return host, src


def go(src, host):
    src.command("migrate", {"uri": host.uri(), "start-remote": True})


def test_tls(t):
    host, src = tls_pair(t)
    host.daemon.qmp.command("host-set-parameters", {"tls-required": True})
    go(src, host)
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    t.check(host.called_for("g")["tls"], "it says that it comes under TLS")
    t.assert_only_runs(host.arrived("g"), src)


def test_without_tls(t):
    """A host that wants TLS hears nobody without."""
    host, src = tls_pair(t)
    src.daemon.qmp.command("host-set-parameters", {"tls-creds": ""})
    go(src, host)
    t.assert_failed(src, "not under TLS")
    t.assert_untouched(src)
    assert_unmoved(t, host)
    migd_shared.wait_refused(host.daemon, "not-encrypted")
    # Nor does one that has no credentials hear somebody with.
    src.daemon.qmp.command("host-set-parameters", {"tls-creds": "tls0"})
    host.daemon.qmp.command("host-set-parameters", {"tls-creds-incoming": ""})
    go(src, host)
    t.assert_failed(src, "announcing guest")
    migd_shared.wait_refused(host.daemon, "no-credentials")
    t.assert_untouched(src)
    assert_unmoved(t, host)


def test_wrong_certificate(t):
    host, src = tls_pair(t, other_authority=True)
    go(src, host)
    t.assert_failed(src, "announcing guest", "TLS")
    t.assert_untouched(src)
    assert_unmoved(t, host)


def test_not_authorized(t):
    host, src = tls_pair(t)
    host.daemon.qmp.command("object-add", {"qom-type": "authz-simple", "id": "who", "identity": "O=migd tests,CN=somebody else"})
    host.daemon.qmp.command("host-set-parameters", {"tls-authz-incoming": "who"})
    go(src, host)
    t.assert_failed(src, "announcing guest", "TLS")
    t.assert_untouched(src)
    assert_unmoved(t, host)
    t.check("may not connect" in host.daemon.log_text(), "the log says who it was")
    host.daemon.qmp.command("object-add", {"qom-type": "authz-simple", "id": "good", "identity": "O=migd tests,CN=a"})
    host.daemon.qmp.command("host-set-parameters", {"tls-authz-incoming": "good"})
    go(src, host)
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    t.assert_only_runs(host.arrived("g"), src)


def test_herald_dies(t):
    """At either end: the guest stays, and what was started is ended."""
    host = Host(t, "b", before="sleep 1000")
    a = t.daemon("a")
    src = t.vmm(a, name="g", working_set="4M")
    t.assert_runs(src)
    for side in (host.daemon, a):
        go(src, host)
        wait_until(lambda: host.called_for("g"), "the hook runs")
        os.remove(os.path.join(host.dir, "g.json"))
        os.kill(heralds_of(side)[0], 9)
        t.assert_failed(src, "announcing guest")
        t.assert_untouched(src)
        wait_until(lambda: "is not received" in host.daemon.log_text(), "the other side knows")
        host.wait_quiet("g")


def heralds_of(daemon):
    return Host.heralds(type("Side", (), {"daemon": daemon})())


migdtest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Who disturbs a migration under TLS, before it or in its middle, is refused by name and costs nobody his guest."""

import os
import signal
import socket
import ssl
import threading
import warnings

import migd_certs
import migdtest
from migd_process import wait_until

NAME = "tls0"


class Pair:
    """Two daemons with certificates of one authority; only the destination needs to be shown one."""

    def __init__(self, t, use=True, **options):
        self.src, self.dst = t.pair(**options)
        ca = migd_certs.Authority(os.path.join(t.dir, "ca"))
        self.dirs = [os.path.join(t.dir, end) for end in ("client", "server")]
        ca.client(self.dirs[0])
        ca.server(self.dirs[1], ["IP:127.0.0.1"])
        for vmm, directory, end in ((self.src, self.dirs[0], "client"), (self.dst, self.dirs[1], "server")):
            vmm.daemon.qmp.command("object-add", {"qom-type": "tls-creds-x509", "id": NAME, "dir": directory, "endpoint": end})
            if use:
                vmm.set(tls_creds=NAME)

    def context(self):
        """For a client of the test's own, that the destination lets in."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(os.path.join(self.dirs[0], "ca-cert.pem"))
        context.load_cert_chain(*(os.path.join(self.dirs[0], f"client-{what}.pem") for what in ("cert", "key")))
        return context


def port_of(uri):
    return int(uri.rpartition(":")[2])


def connect(uri):
    return socket.create_connection(("127.0.0.1", port_of(uri)))


def wait_refused(dst, word):
    wait_until(lambda: word in dst.migration().get("error-desc", ""), f"the destination says '{word}'")
    info = dst.migration()
    assert info["status"] == "setup", f"it does not go on listening: {info}"


def moves(t, src, dst, uri):
    src.command("migrate", {"uri": uri})
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the real one does not get through: {info}")
    t.assert_memory_verified(dst)


def client_hello():
    """The first bytes of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def test_stalled_handshakes_hold_up_nobody(t):
    p = Pair(t)
    uri = t.listen(p.dst)
    hello = client_hello()
    stalled = []
    for length in (0, 1, 5, 6, len(hello) - 1, len(hello)) * 8:
        stalled.append(connect(uri))
        stalled[-1].sendall(hello[:length])
    moves(t, p.src, p.dst, uri)
    for s in stalled:
        s.close()


def test_stalled_handshake_is_hung_up_on(t):
    p = Pair(t)
    uri = t.listen(p.dst)
    with connect(uri) as s:
        s.sendall(client_hello()[:20])
        wait_refused(p.dst, "the end of the handshake did not come within 10 s")
        s.settimeout(10)
        try:
            while s.recv(4096):
                pass
        except ConnectionResetError:
            pass
    moves(t, p.src, p.dst, uri)


def test_old_versions_are_refused(t):
    p = Pair(t)
    uri = t.listen(p.dst)
    context = p.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        context.wrap_socket(connect(uri), server_hostname="127.0.0.1")
        raise AssertionError("TLS 1.1 was accepted")
    except ssl.SSLError as e:
        t.check("PROTOCOL_VERSION" in str(e), f"the client is told {e}")
    wait_refused(p.dst, "no version of TLS is allowed on both sides")
    moves(t, p.src, p.dst, uri)


def test_garbage_is_refused(t):
    p = Pair(t)
    uri = t.listen(p.dst)
    random = migdtest.seed()
    hello = client_hello()
    for _ in range(30):
        at = random.randrange(1, len(hello))
        with connect(uri) as s:
            try:
                s.sendall(hello[:at] + random.randbytes(random.randrange(1, 3000)))
            except OSError:
                pass
    wait_until(lambda: p.dst.migration().get("error-desc"), "the destination says something")
    moves(t, p.src, p.dst, uri)


def test_no_stream_inside(t):
    """Somebody with a good certificate, and no migration."""
    p = Pair(t)
    uri = t.listen(p.dst)
    with p.context().wrap_socket(connect(uri), server_hostname="127.0.0.1") as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        wait_refused(p.dst, "this is no migration stream")
    moves(t, p.src, p.dst, uri)


def test_plain_source(t):
    p = Pair(t)
    p.src.set(tls_creds="")
    uri = t.listen(p.dst)
    p.src.command("migrate", {"uri": uri})
    t.assert_failed(p.src, "the destination speaks TLS")
    wait_refused(p.dst, "a plain migration stream (QEVM) came to a port with tls-creds")
    t.assert_untouched(p.src)
    p.src.set(tls_creds=NAME)
    moves(t, p.src, p.dst, uri)


def test_plain_destination(t):
    p = Pair(t)
    p.dst.set(tls_creds="")
    uri = t.listen(p.dst)
    p.src.command("migrate", {"uri": uri})
    t.assert_failed(p.src, "the peer does not speak TLS")
    wait_refused(p.dst, "the source speaks TLS, and this side does not")
    t.assert_untouched(p.src)
    p.src.set(tls_creds="")
    moves(t, p.src, p.dst, uri)


class Way:
    """Bytes pass, until `after` of them went to the destination; then act(data, destination) says what still does."""

    def __init__(self, port, after, act):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"tcp:127.0.0.1:{self.listener.getsockname()[1]}"
        self.port, self.after, self.act = port, after, act
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        source = self.listener.accept()[0]
        target = socket.create_connection(("127.0.0.1", self.port))
        threading.Thread(target=self.back, args=(target, source), daemon=True).start()
        passed = 0
        try:
            while data := source.recv(65536):
                if passed + len(data) > self.after:
                    self.act(source, target, data)
                else:
                    target.sendall(data)
                passed += len(data)
        except OSError:
            pass

    @staticmethod
    def back(target, source):
        try:
            while data := target.recv(65536):
                source.sendall(data)
        except OSError:
            pass


def broken(t, act, *words):
    p = Pair(t)
    t.fill(p.src)
    way = Way(port_of(t.listen(p.dst)), 3 << 20, act)
    p.src.command("migrate", {"uri": way.uri})
    t.check(t.wait_end_of(p.src)["status"] == "failed", f"{p.src.migration()}")
    info = t.wait_end_of(p.dst)
    t.check(info["status"] == "failed" and any(w in info["error-desc"] for w in words), f"{info} says none of {words}")
    t.assert_untouched(p.src)
    t.assert_runs(p.src)


def test_cut_off_in_mid_stream(t):
    def act(_source, target, data):
        target.sendall(data[:100])
        target.shutdown(socket.SHUT_WR)
        raise OSError

    broken(t, act, "the TLS stream was cut off")


def test_changed_in_mid_stream(t):
    def act(_source, target, data):
        target.sendall(data[:-50] + bytes([data[-50] ^ 1]) + data[-49:])

    broken(t, act, "was changed on the way")


def test_inserted_in_mid_stream(t):
    """A plain alert "the end" from somebody in between, where none can be."""
    def act(_source, target, data):
        target.sendall(b"\x15\x03\x03\x00\x02\x01\x00" * 10 + data)

    broken(t, act, "was changed on the way", "TLS: ")


def test_daemon_that_is_gone_signs_when_it_is_back(t):
    """The destination's key is in its daemon: a handshake waits for its successor."""
    p = Pair(t)
    uri = t.listen(p.dst)
    daemon = p.dst.daemon
    daemon.signal(signal.SIGSTOP)
    p.src.command("migrate", {"uri": uri})
    wait_until(lambda: p.src.status() == "setup", "the source connects")
    daemon.kill(signal.SIGKILL)
    daemon.drop_session()
    p.dst.daemon = t.daemon(daemon.name)
    info = t.wait_end_of(p.src)
    t.check(info["status"] == "completed", f"{info}")
    t.assert_memory_verified(p.dst)


migdtest.main()

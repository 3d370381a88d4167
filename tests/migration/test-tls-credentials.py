#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Migrations and the credentials they use: which, whose, replaced in mid-way, over a restart, demanded by the host."""

import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import time

import migd_certs
import migd_proxy
import migd_tls
from migdtest import SLOW, QmpError, main, wait_until


def refused(t, vmm, command, arguments, *words):
    try:
        vmm.command(command, arguments)
    except QmpError as e:
        for word in words:
            t.check(word in e.desc, f"{command} {arguments}: {e.desc!r} does not say {word!r}")
        return
    raise AssertionError(f"{command} {arguments} was accepted")


def refusal(dst):
    """Why a destination that still listens turned somebody away: the other side may know before its daemon does."""
    return wait_until(lambda: dst.migration().get("error-desc"), "the destination says why", alive=[dst.daemon])


def refused_del(t, daemon, id, *words):
    try:
        daemon.qmp.command("object-del", {"id": id})
    except QmpError as e:
        for word in words:
            t.check(word in e.desc, f"object-del {id}: {e.desc!r} does not say {word!r}")
        return
    raise AssertionError(f"object-del {id} was accepted")


def getfd(vmm, name, end):
    vmm.daemon.qmp.command("getfd", {"fdname": name}, fds=[end.fileno()])


def capabilities(vmm, on, *names):
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": on} for n in names]})


def encrypted(vmm):
    return vmm.daemon.log_text().count("connection is encrypted: TLS")


def server_certificate(port):
    """SHA-256 of what the destination shows to a stranger, which it then refuses for having none."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-showcerts"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(done.stdout[done.stdout.index(ssl.PEM_HEADER):].split(ssl.PEM_FOOTER)[0]
                                                   + ssl.PEM_FOOTER)).hexdigest()


def test_credentials_that_do_not_fit(t):
    src, dst = t.pair()
    x = migd_tls.x509(t, src, dst, ["IP:127.0.0.1"])
    migd_tls.add(src, "tls-creds-x509", "wrong", dir=x.dirs[dst], endpoint="server")
    migd_tls.add(dst, "tls-creds-x509", "wrong", dir=x.dirs[src], endpoint="client")
    migd_tls.add(src, "authz-simple", "authz", identity="CN=x")
    psk = migd_certs.psk(os.path.join(t.dir, "psk"), {"qemu": "00" * 16})
    migd_tls.add(dst, "tls-creds-psk", "psk", dir=psk, endpoint="server")
    migd_tls.add(dst, "tls-creds-x509", "open", dir=x.dirs[dst], endpoint="server", verify_peer=False)
    migrate = {"uri": "tcp:127.0.0.1:1"}
    listen = {"uri": "tcp:127.0.0.1:0"}
    for name, word in (("wrong", "needs some for endpoint 'client'"), ("nowhere", "object-add"), ("authz", "authz-simple")):
        src.set(tls_creds=name)
        refused(t, src, "migrate", migrate, name, word)
    dst.set(tls_creds="wrong")
    refused(t, dst, "migrate-incoming", listen, "endpoint 'client'", "needs some for endpoint 'server'")
    dst.set(tls_authz="who")
    for name in "psk", "open":
        dst.set(tls_creds=name)
        refused(t, dst, "migrate-incoming", listen, "tls_authz", "verify-peer")
    src.set(tls_creds=migd_tls.ID)
    refused(t, src, "migrate", {"uri": f"file:{t.dir}/out"}, "need a socket")
    t.check(src.migration().get("status") in (None, "failed") and not dst.migration().get("status"), "nothing moved")
    dst.set(tls_creds=migd_tls.ID, tls_authz="")
    t.migrate(src, dst)
    t.assert_only_runs(dst, src)


def test_one_side_only(t):
    """Neither is taken for the other, and the destination waits for the right one."""
    src, dst = t.pair()
    migd_tls.psk(t, src, dst)
    src.set(tls_creds="")
    uri = t.listen(dst)
    src.command("migrate", {"uri": uri})
    info = t.wait_end(src)
    t.check(info["status"] == "failed" and "TLS" in info["error-desc"], f"{info}")
    t.assert_runs(src)
    src.set(tls_creds=migd_tls.ID)
    src.command("migrate", {"uri": uri})
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    t.check(t.wait_end(dst)["status"] == "completed", f"{dst.migration()}")
    t.assert_only_runs(dst, src)


def test_priorities(t):
    """What is agreed upon is what both allow; TLS 1.2, too, where a client signs all that was said."""
    def version(daemon):
        return daemon.log_text().rpartition("connection is encrypted: ")[2].split()[0]

    src, dst = t.pair()
    x = migd_tls.x509(t, src, dst, ["IP:127.0.0.1"])
    migd_tls.add(src, "tls-creds-x509", "old", dir=x.dirs[src], endpoint="client", priority="NORMAL:-VERS-TLS1.3")
    migd_tls.add(dst, "tls-creds-x509", "new", dir=x.dirs[dst], endpoint="server", priority="SECURE256:-VERS-TLS1.2")
    dst.set(tls_creds="new")
    src.set(tls_creds="old")
    uri = t.listen(dst)
    src.command("migrate", {"uri": uri})
    info = t.wait_end(src)
    t.check(info["status"] == "failed" and "version" in info["error-desc"], f"{info}")
    dst.command("migrate_cancel")
    wait_until(lambda: dst.migration()["status"] == "cancelled", "the destination stops listening")
    src2, dst2 = t.vmm(t.a, name="h"), t.vmm(t.b, name="h", incoming=True)
    src2.set(tls_creds="old")
    dst2.set(tls_creds=migd_tls.ID)
    t.migrate(src2, dst2)
    t.check(version(t.a) == version(t.b) == "TLSv1.2,", f"{version(t.a)} {version(t.b)}")


def test_rules_in_a_file(t):
    """First nobody, then this client: the file is read again."""
    src, dst = t.pair()
    rules = os.path.join(t.dir, "rules.json")

    def write(policy):
        with open(rules + ".new", "w") as f:
            json.dump({"policy": "deny", "rules": [{"match": "O=migd tests,*", "policy": policy, "format": "glob"}]}, f)
        os.rename(rules + ".new", rules)

    write("deny")
    migd_tls.x509(t, src, dst, ["IP:127.0.0.1"], authz={"kind": "authz-listfile", "filename": rules})
    uri = t.listen(dst)
    refused_del(t, t.b, "who", "in use by a migration of guest 'g'")
    src.command("migrate", {"uri": uri})
    t.check(t.wait_end(src)["status"] == "failed", f"{src.migration()}")
    t.assert_runs(src)
    t.check("a client may not connect dn='O=migd tests,CN=client'" in t.b.log_text(), "the log names it")
    t.check("O=migd tests,CN=client" in refusal(dst), f"{dst.migration()}")
    write("allow")
    src.command("migrate", {"uri": uri})
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    t.assert_only_runs(dst, src)


def test_authz_that_is_not_there_denies(t):
    src, dst = t.pair()
    migd_tls.x509(t, src, dst, ["IP:127.0.0.1"])
    dst.set(tls_authz="nobody")
    uri = t.listen(dst)
    src.command("migrate", {"uri": uri})
    t.check(t.wait_end(src)["status"] == "failed", f"{src.migration()}")
    why = refusal(dst)
    t.check("'tls-authz'" in why and "'nobody'" in why, why)
    t.assert_runs(src)


def test_in_use(t):
    src, dst = t.pair()
    migd_tls.psk(t, src, dst)
    t.make_slow(src)
    t.fill(src)
    t.start(src, dst)
    t.wait_active(src)
    for daemon in t.a, t.b:
        refused_del(t, daemon, migd_tls.ID, "in use by a migration of guest 'g'")
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    t.assert_only_runs(dst, src)
    for daemon in t.a, t.b:
        wait_until(lambda d=daemon: not d.workers(), "the workers end")
        daemon.qmp.command("object-del", {"id": migd_tls.ID})


def test_replaced_while_it_runs(t):
    """The running migration goes on; who connects next sees the new certificate."""
    src, dst = t.pair()
    x = migd_tls.x509(t, src, dst, ["IP:127.0.0.1"])
    uri = t.listen(dst)
    port = int(uri.rsplit(":", 1)[1])
    old = migd_certs.fingerprint(os.path.join(x.dirs[dst], "server-cert.pem"))
    t.check(server_certificate(port) == old, "the certificate that was there")
    new = migd_certs.fingerprint(x.issue_server(["IP:127.0.0.1"]))
    wait_until(lambda: server_certificate(port) == new, "a listener shows the new one")
    with open(os.path.join(x.dirs[dst], "server-cert.pem"), "w") as f:
        f.write("nonsense")
    wait_until(lambda: "stays in use id='tls0'" in t.b.log_text(), "the broken one is noticed")
    t.check(server_certificate(port) == new, "and not used")
    t.make_slow(src)
    t.fill(src)
    src.command("migrate", {"uri": uri})
    t.wait_active(src)
    x.issue_server(["IP:127.0.0.1"], kind="rsa")
    x.issue_client()
    wait_until(lambda: "was read again id='tls0'" in t.a.log_text(), "the source has new ones, too")
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    t.check(t.wait_end(dst)["status"] == "completed", f"{dst.migration()}")
    t.assert_only_runs(dst, src)


def test_over_a_restart(t):
    """The next daemon signs for the listening worker of the one before."""
    src, dst = t.pair()
    migd_tls.x509(t, src, dst, ["IP:127.0.0.1"], authz={"kind": "authz-simple", "identity": migd_tls.CLIENT[1]})
    uri = t.listen(dst)
    t.b.drop_session()
    t.b.kill(signal.SIGTERM)
    t.b = t.daemon("b")
    dst.daemon = t.b
    wait_until(lambda: (t.b.guest("g") or {}).get("attached"), "the VMM is back")
    wait_until(lambda: "took over a former daemon's migration" in t.b.log_text(), "the worker is taken over")
    refused_del(t, t.b, migd_tls.ID, "in use")
    src.command("migrate", {"uri": uri})
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    t.check(t.wait_end(dst)["status"] == "completed", f"{dst.migration()}")
    t.check(encrypted(src) == 1, "it was encrypted")
    t.assert_only_runs(dst, src)


class Relay(migd_proxy.Proxy):
    """Once armed, it is slow on the way back; with an answer that it passes on after `loaded`, what comes next is COMMIT, and
    the link breaks."""
    armed = loaded = answered = False

    def _pump(self, direction, a, b, parser, pair):
        try:
            while data := a.recv(1 << 18):
                if self.armed and direction == "back":
                    time.sleep(0.5 * SLOW)
                    self.answered = self.loaded
                if self.answered and direction == "out":
                    self.armed = self.answered = False
                    self._break()
                    return
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            for sock in pair:
                self._shut(sock)


def test_connects_again_with_new_certificates(t):
    """The link is lost at COMMIT; certificates are replaced and daemons restarted before it is back. All are asked to sign again."""
    src, dst = t.pair(working_set="2M")
    x = migd_tls.x509(t, src, dst, ["IP:127.0.0.1"], authz={"kind": "authz-simple", "identity": migd_tls.CLIENT[1]})
    capabilities(src, True, "pause-before-switchover")
    link = t.cleanup.enter_context(Relay(int(t.listen(dst).rpartition(":")[2])))
    src.command("migrate", {"uri": link.uri})
    wait_until(lambda: src.migration()["status"] == "pre-switchover", "the source waits")
    link.armed = True
    src.command("migrate-continue", {"state": "pre-switchover"})
    wait_until(lambda: dst.migration().get("handover", {}).get("state") == "loaded", "the destination has all")
    link.loaded = True
    wait_until(lambda: src.migration().get("handover", {}).get("in-doubt"), "the source is in doubt")
    x.issue_server(["IP:127.0.0.1"], kind="rsa")
    x.issue_client()
    for side in src, dst:
        side.daemon.drop_session()
        side.daemon.kill(signal.SIGKILL)
    t.a, t.b = src.daemon, dst.daemon = t.daemon("a"), t.daemon("b")
    for daemon in t.a, t.b:
        wait_until(lambda d=daemon: "took over a former daemon's migration" in d.log_text(), "the worker is taken over")
        wait_until(lambda d=daemon: (d.guest("g") or {}).get("attached"), "the VMM is back")
    link.heal()
    t.assert_failed(src)
    t.check(encrypted(src) == 2, f"both connections were encrypted, not {encrypted(src)}")
    t.assert_only_runs(src, dst)


def host_set(daemon, **parameters):
    daemon.qmp.command("host-set-parameters", {k.replace("_", "-"): v for k, v in parameters.items()})


def host_refused(t, daemon, word, **parameters):
    try:
        host_set(daemon, **parameters)
    except QmpError as e:
        t.check(word in e.desc, f"host-set-parameters {parameters}: {e.desc!r} does not say {word!r}")
        return
    raise AssertionError(f"host-set-parameters {parameters} was accepted")


def test_host_demands_it(t):
    src, dst = t.pair()
    migd_tls.psk(t, src, dst)
    for side in src, dst:
        side.set(tls_creds="")
        host_set(side.daemon, tls_required=True)
    refused(t, src, "migrate", {"uri": "tcp:127.0.0.1:1"}, "'tls-required'", "'tls-creds'")
    refused(t, dst, "migrate-incoming", {"uri": "tcp:127.0.0.1:0"}, "'tls-required'", "'tls-creds-incoming'")
    host_refused(t, t.a, "object-add", tls_creds="nowhere")
    host_refused(t, t.a, "'client'", tls_creds_incoming=migd_tls.ID)
    host_refused(t, t.b, "'server'", tls_creds=migd_tls.ID)
    host_set(t.a, tls_creds=migd_tls.ID)
    host_set(t.b, tls_creds_incoming=migd_tls.ID)
    refused_del(t, t.a, migd_tls.ID, "in use by the host's parameters")
    capabilities(src, True, "multifd", "zero-copy-send")
    refused(t, src, "migrate", {"uri": "tcp:127.0.0.1:1"}, "'zero-copy-send'", "TLS")
    capabilities(src, False, "multifd", "zero-copy-send")
    t.migrate(src, dst)
    t.check(encrypted(src) == 1 and encrypted(dst) == 1, "it was encrypted")
    t.check(src.command("query-migrate-parameters")["tls-creds"] == "", "the guest's own is what it was")
    t.assert_only_runs(dst, src)


def test_host_creds_that_are_lost(t):
    """Over a restart they are of no use: migrations are refused, other parameters can be set, and all is well again."""
    src, dst = t.pair()
    directory, _ = migd_tls.psk(t, src, dst)
    src.set(tls_creds="")
    host_set(t.a, tls_creds=migd_tls.ID)
    os.rename(directory, directory + ".away")
    t.a.drop_session()
    t.a.kill(signal.SIGTERM)
    t.a = src.daemon = t.daemon("a")
    wait_until(lambda: (t.a.guest("g") or {}).get("attached"), "the VMM is back")
    host_set(t.a, max_bandwidth=10 ** 9)
    refused(t, src, "migrate", {"uri": "tcp:127.0.0.1:1"}, "the host's TLS credentials", "keys.psk' is missing")
    os.rename(directory + ".away", directory)
    t.migrate(src, dst)
    t.assert_only_runs(dst, src)


def test_what_stays_on_this_host_is_not_asked(t):
    src, dst = t.pair()
    for daemon in t.a, t.b:
        host_set(daemon, tls_required=True)
    t.migrate(src, dst, uri=f"unix:{t.dir}/migration")
    t.assert_only_runs(dst, src)


def test_sockets_that_were_passed(t):
    """One of a network is asked, one of this host is not."""
    src, dst = t.pair()
    for daemon in t.a, t.b:
        host_set(daemon, tls_required=True)
    listener = socket.create_server(("127.0.0.1", 0))
    there = socket.create_connection(listener.getsockname())
    here, _ = listener.accept()
    getfd(src, "net", there)
    refused(t, src, "migrate", {"uri": "fd:net"}, "'tls-required'")
    t.assert_runs(src)
    getfd(dst, "net", here)
    refused(t, dst, "migrate-incoming", {"uri": "fd:net"}, "'tls-required'")
    ends = socket.socketpair()
    getfd(dst, "pair", ends[1])
    dst.command("migrate-incoming", {"uri": "fd:pair"})
    getfd(src, "pair", ends[0])
    src.command("migrate", {"uri": "fd:pair"})
    for end in ends:
        end.close()
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    t.assert_only_runs(dst, src)


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 300
"""TLS between a guest of migd's and a RAM-only QEMU, 7.2 and 10.0 (GnuTLS): certificates and shared keys, both ways, every
byte arrives. Who is refused is told so, and the guest runs on."""

import os

import migd_certs
import migd_pattern
import migd_qemu
import migdtest
from migd_process import wait_until

MEMORY = "16M"
KEY = "6d6967642f716571"
NAME = "tls0"
CLIENT = "/O=tests/CN=client"


def need(version):
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)


def sides(t, version, to_qemu):
    """(source, destination), one of which is a QEMU."""
    need(version)
    guest = t.vmm(t.daemon("a"), memory=MEMORY, ram_only=migd_qemu.BLOCK, incoming=not to_qemu)
    if to_qemu and version == "7.2":
        guest.set(peer_version="qemu-7")
    qemu = migd_qemu.Qemu(t, version, MEMORY, incoming=to_qemu)
    return (guest, qemu) if to_qemu else (qemu, guest)


def add(side, kind, name=NAME, **properties):
    qmp = side.qmp if isinstance(side, migd_qemu.Qemu) else side.daemon.qmp
    qmp.command("object-add", {"qom-type": kind, "id": name, **{k.replace("_", "-"): v for k, v in properties.items()}})


def use(side, **parameters):
    side.command("migrate-set-parameters", {"tls-creds": NAME, **{k.replace("_", "-"): v for k, v in parameters.items()}})


def shared_keys(t, src, dst, theirs=KEY, username="qemu"):
    for side, end, key in ((src, "client", KEY), (dst, "server", theirs)):
        directory = migd_certs.psk(os.path.join(t.dir, end), {"qemu": key, "other": KEY} if end == "client" else {"qemu": key})
        add(side, "tls-creds-psk", dir=directory, endpoint=end, **({"username": username} if end == "client" else {}))
        use(side)


class Certificates:
    """A server for `names`, and a client, if there is one."""

    def __init__(self, t, src, dst, names=("IP:127.0.0.1",), client=True, verify_client=True, kind="rsa", priority=None, authz=None,
                 **parameters):
        ca = migd_certs.Authority(os.path.join(t.dir, "ca"))
        dirs = [os.path.join(t.dir, end) for end in ("client", "server")]
        ca.server(dirs[1], names, kind=kind)
        if client:
            ca.client(dirs[0], CLIENT, kind=kind)
        else:
            ca.trust(dirs[0])
        common = {"priority": priority} if priority else {}
        add(src, "tls-creds-x509", dir=dirs[0], endpoint="client", verify_peer=True, **common)
        add(dst, "tls-creds-x509", dir=dirs[1], endpoint="server", verify_peer=verify_client, **common)
        if authz:
            add(dst, "authz-simple", "who", identity=authz)
            use(dst, tls_authz="who")
        use(dst)
        use(src, **parameters)


def listen(t, dst, uri="tcp:127.0.0.1:0"):
    return dst.listen(uri) if isinstance(dst, migd_qemu.Qemu) else t.listen(dst, uri)


def moves(t, src, dst, uri="tcp:127.0.0.1:0", pattern="mixed"):
    migd_pattern.write(src.memory_file, pattern)
    before = migd_pattern.digest(src.memory_file)
    src.command("migrate", {"uri": listen(t, dst, uri)})
    for side in src, dst:
        info = t.wait_end_of(side)
        t.check(info["status"] == "completed", f"{side.label} says {info}")
    t.check(migd_pattern.digest(dst.memory_file) == before, "another memory arrived")
    guest = src if isinstance(dst, migd_qemu.Qemu) else dst
    t.check("connection is encrypted: TLSv1" in guest.daemon.log_text(), "it was not encrypted, as the log tells")


def psk(t, version, to_qemu, **options):
    src, dst = sides(t, version, to_qemu)
    shared_keys(t, src, dst)
    moves(t, src, dst, **options)


def x509(t, version, to_qemu, uri="tcp:127.0.0.1:0", **options):
    src, dst = sides(t, version, to_qemu)
    Certificates(t, src, dst, **options)
    moves(t, src, dst, uri)
    return src, dst


def test_7_2_takes_shared_key(t):
    psk(t, "7.2", True)


def test_7_2_gives_shared_key(t):
    psk(t, "7.2", False)


def test_10_0_takes_shared_key(t):
    psk(t, "10.0", True, pattern="random")


def test_10_0_gives_shared_key_over_unix(t):
    psk(t, "10.0", False, uri=f"unix:{t.dir}/s")


def test_7_2_takes_certificates(t):
    x509(t, "7.2", True)


def test_7_2_gives_certificates(t):
    x509(t, "7.2", False)


def test_10_0_takes_certificates_of_ec(t):
    x509(t, "10.0", True, kind="ec")


def test_10_0_gives_certificates_of_ec(t):
    x509(t, "10.0", False, kind="ec")


def test_7_2_takes_tls_1_2(t):
    x509(t, "7.2", True, priority="NORMAL:-VERS-TLS1.3")


def test_10_0_gives_tls_1_2(t):
    x509(t, "10.0", False, priority="NORMAL:-VERS-TLS1.3")


def test_10_0_takes_another_host_name_over_unix(t):
    x509(t, "10.0", True, uri=f"unix:{t.dir}/s", names=("DNS:host.example",), tls_hostname="host.example")


def test_10_0_gives_without_a_certificate(t):
    x509(t, "10.0", False, client=False, verify_client=False)


def test_10_0_gives_and_is_authorized(t):
    x509(t, "10.0", False, authz="O=tests,CN=client")


def test_10_0_takes_from_an_authorized_migd(t):
    x509(t, "10.0", True, authz="O=tests,CN=client")


# ---- refused ----

def fails(t, src, dst, words, uri="tcp:127.0.0.1:0"):
    """The source fails and says one of `words` about it; its guest runs on."""
    if isinstance(src, migd_qemu.Qemu):
        # Without, a QEMU that has written all it has takes the migration for completed, whatever became of it.
        src.set_capabilities(return_path=True)
    src.command("migrate", {"uri": listen(t, dst, uri)})
    info = t.wait_end_of(src)
    t.check(info["status"] == "failed", f"{src.label} says {info}")
    t.check(any(w in info["error-desc"] for w in words), f"'{info['error-desc']}' says none of {words}")
    state = src.command("query-status")["status"]
    t.check(state == "running", f"the source's guest is {state}")


def wait_refused(t, dst, word):
    """The destination says why, and still listens."""
    wait_until(lambda: word in dst.migration().get("error-desc", ""), f"the destination says '{word}'")
    t.check(dst.migration()["status"] == "setup", f"{dst.label} says {dst.migration()}")


def test_10_0_refuses_another_key(t):
    src, dst = sides(t, "10.0", True)
    shared_keys(t, src, dst, theirs="00" * 8)
    # GnuTLS hangs up without an alert.
    fails(t, src, dst, ["Do both sides have the same key of this name?"])


def test_10_0_is_refused_for_another_key(t):
    src, dst = sides(t, "10.0", False)
    shared_keys(t, src, dst, theirs="00" * 8)
    fails(t, src, dst, [""])
    wait_refused(t, dst, "different keys under the same name")


def test_7_2_is_refused_for_an_unknown_key(t):
    src, dst = sides(t, "7.2", False)
    shared_keys(t, src, dst, username="other")
    fails(t, src, dst, [""])
    wait_refused(t, dst, "the client's key is called 'other'")


def test_10_0_has_another_host_name(t):
    src, dst = sides(t, "10.0", True)
    Certificates(t, src, dst, names=("IP:10.0.0.1",))
    fails(t, src, dst, ["to be '127.0.0.1', but its certificate is for 'IP Address:10.0.0.1'"])


def test_10_0_wants_a_certificate(t):
    src, dst = sides(t, "10.0", True)
    Certificates(t, src, dst, client=False)
    # GnuTLS looks after the handshake, and may just hang up.
    fails(t, src, dst, ["wants a certificate", "the peer closed the connection", "was cut off", "reset"])


def test_10_0_is_refused_for_no_certificate(t):
    src, dst = sides(t, "10.0", False)
    Certificates(t, src, dst, client=False)
    fails(t, src, dst, [""])
    wait_refused(t, dst, "the client has no certificate, and needs one")


def test_10_0_is_refused_by_name(t):
    src, dst = sides(t, "10.0", False)
    Certificates(t, src, dst, authz="CN=somebody else")
    fails(t, src, dst, [""])
    wait_refused(t, dst, "'O=tests,CN=client' is not allowed to connect")


def test_10_0_speaks_no_tls(t):
    """Its listener takes what comes for a stream."""
    src, dst = sides(t, "10.0", True)
    shared_keys(t, src, dst)
    dst.command("migrate-set-parameters", {"tls-creds": ""})
    fails(t, src, dst, ["does not speak TLS", "closed the connection in the TLS handshake", "TLS handshake: "])


def test_10_0_came_without_tls(t):
    src, dst = sides(t, "10.0", False)
    shared_keys(t, src, dst)
    src.command("migrate-set-parameters", {"tls-creds": ""})
    fails(t, src, dst, [""])
    wait_refused(t, dst, "a plain migration stream (QEVM) came to a port with tls-creds")


def test_10_0_came_with_tls_uninvited(t):
    src, dst = sides(t, "10.0", False)
    shared_keys(t, src, dst)
    dst.set(tls_creds="")
    fails(t, src, dst, [""])
    wait_refused(t, dst, "the source speaks TLS, and this side does not")


migdtest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""A host's shared port with everything that a migration's connections can be: parallel, encrypted, both, and a QEMU's."""

import os
import signal

import migd_multifd
import migd_qemu
import migd_shared
import migd_tls
import migdtest
from migd_process import wait_until


def pair(t, name="g", **options):
    """A guest on the first host, and a VMM on the second one, whose shared port is open."""
    a, b = t.daemon("a"), t.daemon("b", extra=migd_shared.LISTEN)
    src, dst = t.vmm(a, name=name, **options), t.incoming(b, options, name=name)
    t.assert_runs(src)
    return src, dst


def wait_for_it(dst):
    dst.command("migrate-incoming", {"uri": "shared:", "exit-on-error": False})


def move(t, src, dst):
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, None)})
    for side in src, dst:
        info = t.wait_end(side)
        t.check(info["status"] == "completed", f"{side.label} says {info}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst)
    return src.migration()


def encrypted(vmm):
    return vmm.daemon.log_text().count("connection is encrypted: TLS")


def test_parallel(t):
    src, dst = pair(t, working_set="4M")
    migd_multifd.on(src, dst, channels=4)
    wait_for_it(dst)
    info = move(t, src, dst)
    t.check(info["ram"]["multifd-bytes"] > 0, f"the channels were used: {info['ram']}")
    seen = migd_shared.listener(dst.daemon)
    t.check(seen["passed"] == 5 and not seen["refused"], f"each came by the shared port: {seen}")


def test_certificates(t):
    """A name of 127 bytes, and the server's certificate is for the host's address."""
    src, dst = pair(t, name="n" * 127)
    migd_tls.x509(t, src, dst, ["IP:127.0.0.1"])
    wait_for_it(dst)
    move(t, src, dst)
    t.check(encrypted(src) == 1 and encrypted(dst) == 1, "the one connection is encrypted")


def test_key_and_parallel(t):
    src, dst = pair(t, working_set="4M")
    migd_tls.psk(t, src, dst)
    migd_multifd.on(src, dst, channels=4)
    wait_for_it(dst)
    move(t, src, dst)
    t.check(encrypted(dst) == 5, f"all connections are encrypted: {encrypted(dst)}")


def test_only_one_side_encrypts(t):
    src, dst = pair(t)
    migd_tls.psk(t, src, dst)
    src.set(tls_creds="")
    wait_for_it(dst)
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, None)})
    t.assert_failed(src, "TLS")
    migd_shared.wait_refused(dst.daemon, "not-encrypted")
    dst.command("migrate_cancel")
    wait_until(lambda: dst.status() == "cancelled", "it is cancelled")
    dst.set(tls_creds="")
    src.set(tls_creds=migd_tls.ID)
    wait_for_it(dst)
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, None)})
    t.assert_failed(src, "TLS|unrecognized")
    migd_shared.wait_refused(dst.daemon, "no-credentials")
    t.assert_untouched(src)


def test_wrong_name_encrypted(t):
    """TLS has a word for it."""
    src, dst = pair(t)
    migd_tls.psk(t, src, dst)
    wait_for_it(dst)
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, "nobody")})
    t.assert_failed(src, "name")
    migd_shared.wait_refused(dst.daemon, "no-such-guest")
    t.assert_untouched(src)
    move(t, src, dst)


def test_tls_required(t):
    src, dst = pair(t)
    dst.daemon.qmp.command("host-set-parameters", {"tls-required": True})
    t.assert_refused(dst, "migrate-incoming", {"uri": "shared:"}, "tls-required")
    migd_tls.psk(t, src, dst)
    wait_for_it(dst)
    t.check(migd_shared.error_text(migd_shared.say(dst.daemon, migd_shared.preamble("g"))), "a plain one is told")
    migd_shared.wait_refused(dst.daemon, "not-encrypted")
    move(t, src, dst)


def test_daemons_die_while_it_is_encrypted(t):
    src, dst = pair(t, working_set="16M", rate=2000)
    migd_tls.psk(t, src, dst)
    wait_for_it(dst)
    t.make_slow(src)
    src.command("migrate", {"uri": migd_shared.uri(dst.daemon, None)})
    t.wait_active(src)
    dst.daemon.kill(signal.SIGKILL)
    dst.daemon.drop_session()
    dst.daemon = t.daemon("b", extra=migd_shared.LISTEN)
    wait_until(lambda: (dst.daemon.guest("g") or {}).get("attached"), "the next daemon knows the guest")
    t.speed_up(src)
    for side in src, dst:
        info = t.wait_end(side)
        t.check(info["status"] == "completed", f"{side.label} says {info}")
    t.assert_only_runs(dst, src)


def qemu_is_refused(t, version):
    """It cannot say a name: the log says what to do, and its guest runs on."""
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)
    b = t.daemon("b", extra=migd_shared.LISTEN)
    dst = t.vmm(b, memory="16M", ram_only=migd_qemu.BLOCK, incoming=True)
    wait_for_it(dst)
    qemu = migd_qemu.Qemu(t, version)
    with open(qemu.memory_file, "r+b") as f:
        f.write(os.urandom(16 << 20))  # more than sockets hold: it could take that for sent
    qemu.command("migrate", {"uri": f"tcp:127.0.0.1:{migd_shared.port(b)}"})
    migd_shared.wait_refused(b, "unnamed")
    info = t.wait_end_of(qemu)
    t.check(info["status"] == "failed" and qemu.run_state() == "running", f"{info}, {qemu.run_state()}")
    t.check("a port of its own" in b.log_text(), "the log says what to do")
    found = "tcp:127.0.0.1:0"
    dst.command("migrate_cancel")
    wait_until(lambda: dst.status() == "cancelled", "it is cancelled")
    qemu.command("migrate", {"uri": t.listen(dst, found)})
    t.check(t.wait_end_of(qemu)["status"] == "completed", "and with that it comes")


def test_qemu_7_2(t):
    qemu_is_refused(t, "7.2")


def test_qemu_10_0(t):
    qemu_is_refused(t, "10.0")


migdtest.main()

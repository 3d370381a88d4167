#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: lab
# TIMEOUT: 1500
"""With the module `tls` the kernel encrypts what a migration under TLS sends; without it, OpenSSL does."""

import subprocess

import inside
import migd_certs
import migdtest

GUEST = {"memory": "64M", "working_set": "1M"}
KEY = "c0ffee" * 8


def kernel_counts():
    """What the kernel's TLS did so far: {counter: n}; {}: it has none."""
    try:
        with open("/proc/net/tls_stat") as f:
            return {line.split()[0]: int(line.split()[1]) for line in f}
    except FileNotFoundError:
        return {}


def set_module(wanted):
    subprocess.run(["modprobe", "tls"] if wanted else ["rmmod", "tls"], check=wanted, capture_output=True)
    if not wanted:
        # It must not come back by itself when a socket asks for it.
        with open("/proc/sys/kernel/modprobe", "w") as f:
            f.write("/bin/false")


def credentials(t, daemon, endpoint):
    directory = migd_certs.psk(f"{t.dir}/{daemon.name}-keys", {"qemu": KEY})
    daemon.qmp.command("object-add", {"qom-type": "tls-creds-psk", "id": "tls0", "dir": directory, "endpoint": endpoint})


def move(t, by, pages=8 << 20):
    """Migrate a guest under TLS; what the kernel's TLS did: {counter: n}. `by`: who encrypts, as both logs say."""
    src, dst = t.pair(**GUEST)
    t.fill(src, length=pages)
    credentials(t, t.a, "client")
    credentials(t, t.b, "server")
    for side in src, dst:
        side.set(tls_creds="tls0")
    # An emulated CPU encrypts more slowly than the guest writes.
    src.set(downtime_limit=30000)
    before = kernel_counts()
    info = t.migrate(src, dst, timeout=120)
    t.check(info["ram"]["transferred"] > pages, f"memory was sent: {info['ram']}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    t.check(bytes(dst.mem.map[32 << 20:(32 << 20) + pages]) == b"x" * pages, "the filled memory arrived")
    for daemon in t.a, t.b:
        t.check(f"encrypted by {by}" in daemon.log_text(), f"{daemon.label}'s log says that {by} encrypts")
    counts = {name: n - before.get(name, 0) for name, n in kernel_counts().items()}
    print(f"kernel TLS: { {name: n for name, n in counts.items() if n} }")
    return counts


def test_kernel_encrypts(t):
    set_module(True)
    counts = move(t, "the kernel")
    # Both ends gave it the keys they send with. Those they receive with they do from OpenSSL 3.2 on, under TLS 1.3.
    t.check(counts["TlsTxSw"] >= 2, f"both ends: {counts}")
    t.check(counts["TlsDecryptError"] == 0, f"nothing was damaged: {counts}")


def test_without_the_module(t):
    set_module(False)
    t.check(not kernel_counts(), "the module is gone")
    move(t, "OpenSSL")
    t.check(not kernel_counts(), "nobody brought it back")


inside.enter(timeout=1000)
migdtest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 120
"""A RAM-only QEMU, 7.2 and 10.0, is switched to post-copy on its way to a guest of migd's: every byte arrives."""

import os

import migd_certs
import migd_pattern
import migd_qemu
import migdtest
from migd_process import wait_until

MEMORY = "32M"
SLOW = 2 << 20  # bytes a second: far from done when it is switched


def need(version):
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)


def share_key(t, src, dst):
    for side, qmp, end in (src, src.qmp, "client"), (dst, dst.daemon.qmp, "server"):
        directory = migd_certs.psk(os.path.join(t.dir, end), {"qemu": "6d6967642f716571"})
        qmp.command("object-add", {"qom-type": "tls-creds-psk", "id": "tls0", "dir": directory, "endpoint": end,
                                   **({"username": "qemu"} if end == "client" else {})})
        side.command("migrate-set-parameters", {"tls-creds": "tls0"})


def begun(t, version, pattern, uri="tcp:127.0.0.1:0", tls=False, capabilities=()):
    """A QEMU with a pattern on its way, slowly; and the target."""
    need(version)
    dst = t.vmm(t.daemon("a"), memory=MEMORY, ram_only=migd_qemu.BLOCK, incoming=True)
    src = migd_qemu.Qemu(t, version, MEMORY)
    for side in src, dst:
        side.command("migrate-set-capabilities", {
            "capabilities": [{"capability": c, "state": True} for c in ("postcopy-ram", "return-path", *capabilities)]})
    if tls:
        share_key(t, src, dst)
    migd_pattern.write(src.memory_file, pattern)
    src.command("migrate-set-parameters", {"max-bandwidth": SLOW})
    src.command("migrate", {"uri": t.listen(dst, uri)})
    wait_until(lambda: src.migration().get("ram", {}).get("transferred", 0) > SLOW / 4, "pages are sent", alive=[src, dst])
    return src, dst


def switched(t, version, pattern, **options):
    src, dst = begun(t, version, pattern, **options)
    before = migd_pattern.digest(src.memory_file)
    src.command("migrate-start-postcopy")
    src.command("migrate-set-parameters", {"max-bandwidth": 0})
    info = t.wait_end_of(src)
    t.check(info["status"] == "completed", f"{src.label} says {info}")
    late = src.migration()["ram"]["postcopy-bytes"]
    t.check((late > 4 << 20) == (pattern != "hole"), f"{late} bytes came in post-copy")
    info = t.wait_end_of(dst)
    t.check(info["status"] == "completed", f"{dst.label} says {info}")
    t.check(dst.run_state() == "running", f"the guest is {dst.run_state()}")
    t.check(migd_pattern.digest(dst.memory_file) == before, f"{pattern}: all bytes arrived")
    if pattern == "hole":
        t.check(migd_pattern.allocated(dst.memory_file) == 0, "zeros take no memory")


def test_7_2_mixed(t):
    switched(t, "7.2", "mixed")


def test_10_0_random(t):
    switched(t, "10.0", "random")


def test_10_0_mixed_over_unix(t):
    switched(t, "10.0", "mixed", uri=f"unix:{t.dir}/there")


def test_7_2_urgent_channel(t):
    switched(t, "7.2", "mixed", capabilities=["postcopy-preempt"])


def test_10_0_urgent_channel(t):
    switched(t, "10.0", "mixed", capabilities=["postcopy-preempt"])


def test_7_2_urgent_channel_under_tls(t):
    switched(t, "7.2", "mixed", tls=True, capabilities=["postcopy-preempt"])


def test_10_0_urgent_channel_under_tls(t):
    """Its handshake is waited for before the package."""
    switched(t, "10.0", "mixed", tls=True, capabilities=["postcopy-preempt"])


def test_announced_and_not_used(t):
    src, dst = begun(t, "10.0", "mixed")
    before = migd_pattern.digest(src.memory_file)
    src.command("migrate-set-parameters", {"max-bandwidth": 0})
    info = t.wait_end_of(dst)
    t.check(info["status"] == "completed", f"{dst.label} says {info}")
    t.check(migd_pattern.digest(dst.memory_file) == before, "all bytes arrived")


migdtest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 180
"""
Parameter peer-version: what is said to a QEMU of those versions. 8 and 9 are not here; but a 7.2 refuses the announcement of the
switchover, which none of them may get, and a 10.0 takes multifd in either way, as long as it is the one it expects.
"""

import migd_multifd
import migd_pattern
import migd_qemu
import migdtest

MEMORY = "16M"


def sent(t, version, peer_version, multifd=False, extra=()):
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)
    src = t.vmm(t.daemon("a"), memory=MEMORY, ram_only=migd_qemu.BLOCK)
    migd_pattern.write(src.memory_file, "mixed")
    before = migd_pattern.digest(src.memory_file)
    dst = migd_qemu.Qemu(t, version, MEMORY, incoming=True, extra=extra)
    if multifd:
        migd_multifd.on(src, dst)
    src.set(peer_version=peer_version)
    src.command("migrate", {"uri": dst.listen("tcp:127.0.0.1:0")})
    for side in src, dst:
        info = t.wait_end_of(side)
        t.check(info["status"] == "completed", f"{side.label} says {info}")
    t.check(migd_pattern.digest(dst.memory_file) == before, "all bytes are in QEMU")
    return src.migration()["ram"]


def told_in_stream(ram):
    """Of the pages of zeros, as a share: 9 bytes each, where little else is. Half of them are holes, which never come in packets."""
    return (ram["transferred"] - ram["multifd-bytes"]) / (9 * ram["duplicate"])


def test_no_announcement_for_7(t):
    sent(t, "7.2", "qemu-7")


def test_no_announcement_for_8(t):
    sent(t, "7.2", "qemu-8")


def test_no_announcement_for_9(t):
    sent(t, "7.2", "qemu-9")


def test_multifd_as_9(t):
    ram = sent(t, "10.0", "qemu-9", multifd=True)
    t.check(told_in_stream(ram) < 0.7, f"zeros are listed in packets: {ram}")


def test_multifd_as_8(t):
    ram = sent(t, "10.0", "qemu-8", multifd=True)
    t.check(told_in_stream(ram) > 0.95, f"zeros are told in the stream: {ram}")


def test_multifd_as_7(t):
    sent(t, "10.0", "qemu-7", multifd=True, extra=["-global", "migration.multifd-flush-after-each-section=on"])


migdtest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 120
"""A RAM-only QEMU, 7.2 and 10.0, migrates to a guest of migd's, and back again: every byte arrives, zeros stay cheap."""

import migd_pattern
import migd_qemu
import migdtest

MEMORY = "16M"
PATTERNS = ("random", "zero", "hole", "mixed")


def need(version):
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)


def guest(t, **options):
    return t.vmm(t.daemon("a"), memory=MEMORY, ram_only=migd_qemu.BLOCK, **options)


def dialect(vmm, qemu):
    """A 7.2 does not know how the switchover is announced."""
    if qemu.version == "7.2":
        vmm.set(peer_version="qemu-7")


def completed(t, side):
    info = t.wait_end_of(side)
    t.check(info["status"] == "completed", f"{side.label} says {info}")


def to_qemu(t, vmm, qemu, uri):
    dialect(vmm, qemu)
    vmm.command("migrate", {"uri": qemu.listen(uri)})
    completed(t, vmm)
    completed(t, qemu)


def from_qemu(t, qemu, vmm, uri):
    found = t.listen(vmm, uri)
    qemu.command("migrate", {"uri": found})
    completed(t, qemu)
    completed(t, vmm)


def there_and_back(t, version, pattern, live=True, uri="tcp:127.0.0.1:0", return_path=True):
    need(version)
    src = guest(t)
    migd_pattern.write(src.memory_file, pattern)
    before = migd_pattern.digest(src.memory_file)
    if not live:
        src.command("stop")
    over = migd_qemu.Qemu(t, version, MEMORY, incoming=True)
    to_qemu(t, src, over, uri)
    state = "running" if live else "paused"
    t.check(over.run_state() == state, f"QEMU's guest is {over.run_state()}, not {state}")
    t.check(migd_pattern.digest(over.memory_file) == before, f"{pattern}: all bytes are in QEMU")
    t.check(src.wait_exit() == 0, "the source's VMM ends")

    over.set_capabilities(return_path=return_path)
    back = t.vmm(src.daemon, memory=MEMORY, ram_only=migd_qemu.BLOCK, incoming=True)
    from_qemu(t, over, back, uri.replace("/there", "/back"))
    t.check(back.run_state() == state, f"the guest came back {back.run_state()}, not {state}")
    if pattern in ("zero", "hole"):
        t.check(migd_pattern.allocated(back.memory_file) == 0, "zeros take no memory")
    t.check(migd_pattern.digest(back.memory_file) == before, f"{pattern}: all bytes came back")


def test_7_2_random(t):
    there_and_back(t, "7.2", "random")


def test_7_2_zero_stopped(t):
    there_and_back(t, "7.2", "zero", live=False)


def test_7_2_hole_over_unix(t):
    there_and_back(t, "7.2", "hole", uri=f"unix:{t.dir}/there")


def test_7_2_mixed_without_return_path(t):
    there_and_back(t, "7.2", "mixed", return_path=False)


def test_10_0_random(t):
    there_and_back(t, "10.0", "random")


def test_10_0_zero_over_unix(t):
    there_and_back(t, "10.0", "zero", uri=f"unix:{t.dir}/there")


def test_10_0_hole_stopped(t):
    there_and_back(t, "10.0", "hole", live=False)


def test_10_0_mixed_without_return_path(t):
    there_and_back(t, "10.0", "mixed", return_path=False)


migdtest.main()

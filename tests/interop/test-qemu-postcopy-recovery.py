#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 120
"""Post-copy between migd and a RAM-only QEMU is paused and goes on over another connection, in both directions."""

import migd_pattern
import migd_qemu
import migdtest
from migd_process import wait_until

MEMORY = "16M"
SLOW = 256 << 10  # bytes/s: a minute for all of the memory


def paused(t, src, dst, who):
    """Post-copy begins on a guest that has hardly moved, and an operator of WHO pauses it."""
    src.command("migrate-set-parameters", {"max-bandwidth": 1 << 20, "max-postcopy-bandwidth": SLOW})
    src.command("migrate", {"uri": dst.listen("tcp:127.0.0.1:0") if hasattr(dst, "listen") else t.listen(dst)})
    src.command("migrate-start-postcopy")
    for side in src, dst:
        wait_until(lambda s=side: s.migration().get("status") == "postcopy-active", "post-copy begins", alive=[src, dst])
    who.command("migrate-pause")
    for side in src, dst:
        wait_until(lambda s=side: s.migration().get("status") == "postcopy-paused", "both are paused", alive=[src, dst])


def goes_on(t, src, dst, before):
    """Over another address."""
    uri = f"unix:{t.dir}/recovery"
    dst.command("migrate-recover", {"uri": uri})
    src.command("migrate-set-parameters", {"max-postcopy-bandwidth": 0})
    src.command("migrate", {"uri": uri, "resume": True})
    for side in src, dst:
        info = t.wait_end_of(side)
        t.check(info["status"] == "completed", f"{side.label} says {info}")
    t.check(dst.run_state() == "running", f"the guest is {dst.run_state()}")
    t.check(migd_pattern.digest(dst.memory_file) == before, "all bytes are there")


def need(version):
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)


def to_qemu(t, version, pause_here):
    need(version)
    src = t.vmm(t.daemon("a"), memory=MEMORY, ram_only=migd_qemu.BLOCK)
    migd_pattern.write(src.memory_file, "mixed")
    before = migd_pattern.digest(src.memory_file)
    src.set_capabilities(postcopy_ram=True)
    if version == "7.2":
        src.set(peer_version="qemu-7")
    dst = migd_qemu.Qemu(t, version, MEMORY, incoming=True, capabilities={"postcopy_ram": True})
    paused(t, src, dst, src if pause_here else dst)
    goes_on(t, src, dst, before)


def from_qemu(t, version, pause_here):
    need(version)
    dst = t.vmm(t.daemon("a"), memory=MEMORY, ram_only=migd_qemu.BLOCK, incoming=True)
    src = migd_qemu.Qemu(t, version, MEMORY)
    migd_pattern.write(src.memory_file, "mixed")
    before = migd_pattern.digest(src.memory_file)
    for side in src, dst:
        side.command("migrate-set-capabilities", {
            "capabilities": [{"capability": c, "state": True} for c in ("postcopy-ram", "return-path")]})
    paused(t, src, dst, dst if pause_here else src)
    goes_on(t, src, dst, before)


def test_to_10_0(t):
    to_qemu(t, "10.0", pause_here=True)


def test_to_7_2(t):
    to_qemu(t, "7.2", pause_here=True)


def test_to_10_0_which_pauses(t):
    to_qemu(t, "10.0", pause_here=False)


def test_from_10_0(t):
    from_qemu(t, "10.0", pause_here=True)


def test_from_7_2(t):
    from_qemu(t, "7.2", pause_here=True)


def test_from_10_0_which_pauses(t):
    from_qemu(t, "10.0", pause_here=False)


migdtest.main()

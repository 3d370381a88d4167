#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 120
"""What does not fit between migd and a QEMU is refused in words, and the guest goes on where it was."""

import migd_pattern
import migd_qemu
import migdtest
from migd_process import wait_until

MEMORY = "16M"
UUID = "11223344-5566-7788-99aa-bbccddeeff00"


def need(version):
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)


def guest(t, daemon=None, **options):
    return t.vmm(daemon or t.daemon("a"), **{"memory": MEMORY, "ram_only": migd_qemu.BLOCK, **options})


def failed(t, side, *words):
    info = t.wait_end_of(side)
    t.check(info["status"] == "failed", f"{side.label} says {info}")
    for word in words:
        t.check(word in info["error-desc"], f"{side.label}: {info['error-desc']!r} does not name {word!r}")
    return info


def runs_on(t, side):
    wait_until(lambda: side.run_state() == "running", f"the guest of {side.label} runs on")


def refused_by_migd(t, words, capabilities=(), qemu_extra=(), **changes):
    """QEMU's guest comes to one that is unlike it."""
    need("10.0")
    src = migd_qemu.Qemu(t, "10.0", MEMORY, capabilities={"return-path": True, **dict(capabilities)}, extra=qemu_extra)
    dst = guest(t, incoming=True, **changes)
    src.command("migrate", {"uri": t.listen(dst)})
    failed(t, dst, *words)
    t.check(t.wait_end_of(src)["status"] == "failed", f"QEMU hears of it: {src.migration()}")
    runs_on(t, src)


def test_memory_of_another_size(t):
    refused_by_migd(t, ["block 'r0' has 16777216 bytes at the source and 33554432 here", "stream offset"], memory="32M")


def test_another_block(t):
    refused_by_migd(t, ["RAM block 'r0'", "does not have"], ram_only="other")


def test_devices_that_the_source_has_not(t):
    refused_by_migd(t, ["'kvm-vm'", "missing"], ram_only=None, payload=None, extra=("--memory-id", migd_qemu.BLOCK))


def test_a_capability_on_one_side(t):
    refused_by_migd(t, ["'x-ignore-shared' is on at the source and off here"], capabilities={"x-ignore-shared": True})


def test_another_uuid(t):
    refused_by_migd(t, ["field 'uuid'"], {"validate-uuid": True}, ["-uuid", UUID], extra=("--uuid", UUID.replace("1", "2")))


def test_a_machine_is_refused_by_qemu(t):
    need("10.0")
    src = t.vmm(t.daemon("a"), memory=MEMORY, payload="idle", extra=("--memory-id", migd_qemu.BLOCK))
    dst = migd_qemu.Qemu(t, "10.0", MEMORY, incoming=True)
    src.command("migrate", {"uri": dst.listen("tcp:127.0.0.1:0")})
    failed(t, src)
    t.check("'kvm-vm'" in dst.log_text(), "QEMU says why")
    t.assert_untouched(src)


def test_a_switchover_that_7_2_does_not_know(t):
    need("7.2")
    src = guest(t)
    migd_pattern.write(src.memory_file, "mixed")
    dst = migd_qemu.Qemu(t, "7.2", MEMORY, incoming=True)
    src.command("migrate", {"uri": dst.listen("tcp:127.0.0.1:0")})
    failed(t, src)
    runs_on(t, src)
    t.check(dst.wait_exit() == 1, "QEMU 7.2 ends")
    t.check("MIG_CMD 0xb unknown" in dst.log_text(), "and says why")


def test_shut_is_lost(t):
    """QEMU runs the guest and could not say so: it stays stopped here until an operator decides."""
    need("10.0")
    src = guest(t)
    dst = migd_qemu.Qemu(t, "10.0", MEMORY, incoming=True)
    link = t.proxy(int(dst.listen("tcp:127.0.0.1:0").rpartition(":")[2]),
                   rule=lambda d, n, count: "cut-before" if n == "reply-shut" else None)
    src.command("migrate", {"uri": link.uri})
    info = wait_until(lambda: (lambda m: m if m.get("handover", {}).get("in-doubt") else None)(src.migration()),
                      "the source is in doubt")
    t.check(info["status"] == "device" and info["handover"]["state"] == "released", f"it says {info}")
    wait_until(lambda: "no migd" in src.migration().get("error-desc", ""), "it says that nobody can be asked")
    t.check(dst.run_state() == "running", "QEMU's guest runs")
    src.command("migrate-resolve", {"outcome": "discard", "fenced": True})
    t.check(t.wait_end_of(src)["status"] == "completed", f"it was decided: {src.migration()}")
    t.check(src.wait_exit() == 0, "the source's VMM ends")


def test_cancelled(t):
    need("10.0")
    src = guest(t)
    migd_pattern.write(src.memory_file, "random")
    dst = migd_qemu.Qemu(t, "10.0", MEMORY, incoming=True)
    t.make_slow(src)
    src.command("migrate", {"uri": dst.listen("tcp:127.0.0.1:0")})
    t.wait_active(src)
    src.command("migrate_cancel")
    t.check(t.wait_end_of(src)["status"] == "cancelled", f"it says {src.migration()}")
    runs_on(t, src)


migdtest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 180
"""A RAM-only QEMU, 7.2 and 10.0, migrates over parallel channels to a guest of migd's, and back again: every byte arrives."""

import migd_multifd
import migd_pattern
import migd_qemu
import migdtest

MEMORY = "32M"


def need(version):
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)


def guest(t, **options):
    return t.vmm(t.daemon("a"), memory=MEMORY, ram_only=migd_qemu.BLOCK, **options)


def completed(t, side):
    info = t.wait_end_of(side)
    t.check(info["status"] == "completed", f"{side.label} says {info}")


def set_up(version, channels, vmm, qemu, **parameters):
    """A 7.2 syncs at the end of sections, and sees no zeros in packets."""
    migd_multifd.on(vmm, qemu, channels=channels)
    vmm.set(peer_version="qemu-7" if version == "7.2" else "newest", **parameters)
    if parameters and version != "7.2":
        qemu.command("migrate-set-parameters", {k.replace("_", "-"): v for k, v in parameters.items()})


def there_and_back(t, version, pattern, channels=2, uri="tcp:127.0.0.1:0", **parameters):
    need(version)
    src = guest(t)
    migd_pattern.write(src.memory_file, pattern)
    before = migd_pattern.digest(src.memory_file)
    over = migd_qemu.Qemu(t, version, MEMORY, incoming=True)
    set_up(version, channels, src, over, **parameters)
    src.command("migrate", {"uri": over.listen(uri)})
    completed(t, src)
    completed(t, over)
    t.check(migd_pattern.digest(over.memory_file) == before, f"{pattern}: all bytes are in QEMU")
    t.check(src.wait_exit() == 0, "the source's VMM ends")
    sent = src.migration()["ram"]["multifd-bytes"]
    t.check(sent > (16 << 20 if pattern == "random" else 64 * channels), f"{sent} bytes went over the channels")

    back = t.vmm(src.daemon, memory=MEMORY, ram_only=migd_qemu.BLOCK, incoming=True)
    set_up(version, channels, back, over, **parameters)
    over.command("migrate", {"uri": t.listen(back, uri.replace("/there", "/back"))})
    completed(t, over)
    completed(t, back)
    if pattern in ("zero", "hole") and parameters.get("zero_page_detection") != "none":
        t.check(migd_pattern.allocated(back.memory_file) == 0, "zeros take no memory")
    t.check(migd_pattern.digest(back.memory_file) == before, f"{pattern}: all bytes came back")


def test_7_2_random(t):
    there_and_back(t, "7.2", "random")


def test_7_2_zero_over_unix(t):
    there_and_back(t, "7.2", "zero", uri=f"unix:{t.dir}/there")


def test_7_2_mixed_over_sixteen(t):
    there_and_back(t, "7.2", "mixed", channels=16)


def test_7_2_hole_over_one(t):
    there_and_back(t, "7.2", "hole", channels=1)


def test_10_0_random(t):
    there_and_back(t, "10.0", "random")


def test_10_0_zero_over_unix(t):
    there_and_back(t, "10.0", "zero", uri=f"unix:{t.dir}/there")


def test_10_0_hole_over_one(t):
    there_and_back(t, "10.0", "hole", channels=1)


def test_10_0_mixed_over_all_there_are(t):
    there_and_back(t, "10.0", "mixed", channels=255)


def test_10_0_mixed_with_zeros_as_records(t):
    there_and_back(t, "10.0", "mixed", zero_page_detection="legacy")


def test_10_0_zero_in_full(t):
    there_and_back(t, "10.0", "zero", zero_page_detection="none")


def test_10_0_that_syncs_by_section(t):
    """A newer QEMU can be told to sync as an older one does; who receives sees it."""
    need("10.0")
    src = migd_qemu.Qemu(t, "10.0", MEMORY, extra=("-global", "migration.multifd-flush-after-each-section=on"))
    migd_pattern.write(src.memory_file, "mixed")
    before = migd_pattern.digest(src.memory_file)
    dst = guest(t, incoming=True)
    migd_multifd.on(src, dst)
    src.command("migrate", {"uri": t.listen(dst)})
    completed(t, src)
    completed(t, dst)
    t.check(migd_pattern.digest(dst.memory_file) == before, "all bytes arrived")


def test_numbers_that_differ(t):
    """The destination takes the channels it expects, and fails when the source goes on without the others."""
    need("10.0")
    src = migd_qemu.Qemu(t, "10.0", MEMORY)
    dst = guest(t, incoming=True)
    migd_multifd.on(src, channels=2)
    migd_multifd.on(dst, channels=3)
    src.command("migrate", {"uri": t.listen(dst)})
    t.assert_failed(dst, "2 of 3 multifd channels", "must be the same")


migdtest.main()

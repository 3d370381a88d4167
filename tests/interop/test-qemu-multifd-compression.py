#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 240
"""Compressed pages on parallel channels, from QEMU 7.2 and 10.0 and to them: every byte arrives, and fewer are sent."""

import migd_pattern
import migd_qemu
import migdtest

MEMORY = "32M"
CHANNELS = 3


def guest(t, daemon=None, **options):
    return t.vmm(daemon or t.daemon("a"), memory=MEMORY, ram_only=migd_qemu.BLOCK, **options)


def settings(codec, level):
    return {"multifd-channels": CHANNELS, "multifd-compression": codec, f"multifd-{codec}-level": level}


def qemu(t, version, codec, level, **options):
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)
    q = migd_qemu.Qemu(t, version, MEMORY, capabilities={"multifd": True}, **options)
    try:
        q.command("migrate-set-parameters", settings(codec, level))
    except migdtest.QmpError as e:
        t.check("does not accept value" in e.desc, f"QEMU {version} says {e.desc}")
        raise migdtest.Skip(f"this build of QEMU {version} has no {codec}") from e
    return q


def compress(vmm, q, codec, level):
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": "multifd", "state": True}]})
    vmm.set(**{k.replace("-", "_"): v for k, v in settings(codec, level).items()})
    if q.version == "7.2":
        vmm.set(peer_version="qemu-7")


def completed(t, *sides):
    for side in sides:
        info = t.wait_end_of(side)
        t.check(info["status"] == "completed", f"{side.label} says {info}")


def there_and_back(t, version, codec, level, pattern):
    over = qemu(t, version, codec, level, incoming=True)
    src = guest(t)
    compress(src, over, codec, level)
    migd_pattern.write(src.memory_file, pattern)
    before = migd_pattern.digest(src.memory_file)
    src.command("migrate", {"uri": over.listen("tcp:127.0.0.1:0")})
    completed(t, src, over)
    t.check(migd_pattern.digest(over.memory_file) == before, f"{pattern}: all bytes are in QEMU")
    ram = src.migration()["ram"]
    if pattern == "text":
        t.check(0 < ram["multifd-bytes"] < ram["normal-bytes"] * 2 / 3, f"text was compressed: {ram}")
    t.check(src.wait_exit() == 0, "the source's VMM ends")

    back = guest(t, src.daemon, incoming=True)
    compress(back, over, codec, level)
    found = t.listen(back, "tcp:127.0.0.1:0")
    over.command("migrate", {"uri": found})
    completed(t, over, back)
    t.check(migd_pattern.digest(back.memory_file) == before, f"{pattern}: all bytes came back")


def test_7_2_zlib_text(t):
    there_and_back(t, "7.2", "zlib", 1, "text")


def test_7_2_zlib_mixed(t):
    there_and_back(t, "7.2", "zlib", 9, "mixed")


def test_7_2_zstd_random(t):
    there_and_back(t, "7.2", "zstd", 1, "random")


def test_7_2_zstd_mixed(t):
    there_and_back(t, "7.2", "zstd", 20, "mixed")


def test_10_0_zlib_stored(t):
    there_and_back(t, "10.0", "zlib", 0, "mixed")


def test_10_0_zlib_random(t):
    there_and_back(t, "10.0", "zlib", 6, "random")


def test_10_0_zstd_text(t):
    there_and_back(t, "10.0", "zstd", 1, "text")


def test_10_0_zstd_mixed(t):
    there_and_back(t, "10.0", "zstd", 12, "mixed")


def test_10_0_sends_what_is_not_expected(t):
    """Another codec on each side: named, and whoever is the source keeps the guest."""
    over = qemu(t, "10.0", "zlib", 1)
    over.set_capabilities(return_path=True)  # without, it does not see that its guest did not arrive
    migd_pattern.write(over.memory_file, "text")
    before = migd_pattern.digest(over.memory_file)
    dst = guest(t, incoming=True)
    compress(dst, over, "zstd", 1)
    over.command("migrate", {"uri": t.listen(dst, "tcp:127.0.0.1:0")})
    info = t.wait_end_of(dst)
    t.check(info["status"] == "failed" and "multifd-compression" in info["error-desc"] and "zstd" in info["error-desc"],
            f"the destination says {info}")
    t.check(t.wait_end_of(over)["status"] == "failed", "QEMU's migration fails")
    t.check(migd_pattern.digest(over.memory_file) == before, "QEMU's guest is unharmed")


def test_10_0_gets_what_it_does_not_expect(t):
    over = qemu(t, "10.0", "zlib", 1, incoming=True)
    src = guest(t)
    compress(src, over, "zstd", 1)
    migd_pattern.write(src.memory_file, "text")
    before = migd_pattern.digest(src.memory_file)
    src.command("migrate", {"uri": over.listen("tcp:127.0.0.1:0")})
    info = t.wait_end_of(src)
    t.check(info["status"] == "failed" and info.get("error-desc"), f"the source says {info}")
    t.check(src.run_state() == "running", f"the guest is {src.run_state()}")
    t.check(migd_pattern.digest(src.memory_file) == before, "the guest is unharmed")


migdtest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 120
"""Streams without a return path: what migd saves QEMU loads, and the other way round; each describes itself."""

import hashlib

import migd_pattern
import migd_qemu
import migd_saved
import migdtest

MEMORY = "16M"
UUID = "11223344-5566-7788-99aa-bbccddeeff00"


def need(version):
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)


def guest(t, daemon=None, **options):
    daemon = daemon or t.daemon("a", extra=["--allow-exec"])
    vmm = t.vmm(daemon, memory=MEMORY, ram_only=migd_qemu.BLOCK, **options)
    migd_pattern.write(vmm.memory_file, "hole" if options.get("incoming") else "mixed")
    return vmm, migd_pattern.digest(vmm.memory_file)


def completed(t, side):
    info = t.wait_end_of(side)
    t.check(info["status"] == "completed", f"{side.label} says {info}")


def save(t, vmm, path):
    vmm.command("migrate", {"uri": f"file:{path}"})
    completed(t, vmm)
    with open(path, "rb") as f:
        return migd_saved.Saved(f.read())


def test_described_and_loaded_again(t):
    src, before = guest(t, extra=("--uuid", UUID))
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "validate-uuid", "state": True}]})
    saved = save(t, src, f"{t.dir}/saved")
    t.check([name for name, _ in saved.sections] == ["timer", "globalstate"], f"the sections: {saved.sections}")
    t.check(saved.description["configuration"]["subsections"][0]["vmsd_name"] == "configuration/uuid", "the UUID is in it")
    memory = b"".join(saved.pages.get((migd_qemu.BLOCK, a)) or bytes(4096) for a in range(0, 16 << 20, 4096))
    t.check(hashlib.sha256(memory).hexdigest() == before, "all bytes are in the file")
    t.check(src.wait_exit() == 0, "the source is retired")
    back, _ = guest(t, src.daemon, incoming=True, extra=("--uuid", UUID))
    back.command("migrate-incoming", {"uri": f"file:{t.dir}/saved"})
    completed(t, back)
    t.check(migd_pattern.digest(back.memory_file) == before, "all bytes came back")
    t.check(back.run_state() == "running", f"it runs: {back.run_state()}")


def test_another_uuid_is_refused(t):
    src, _ = guest(t, extra=("--uuid", UUID))
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "validate-uuid", "state": True}]})
    save(t, src, f"{t.dir}/saved")
    other, _ = guest(t, src.daemon, incoming=True, extra=("--uuid", UUID.replace("1", "2")))
    other.command("migrate-incoming", {"uri": f"file:{t.dir}/saved", "exit-on-error": False})
    info = t.wait_end_of(other)
    t.check(info["status"] == "failed" and "field 'uuid'" in info["error-desc"], f"it says {info}")


def test_a_whole_machine_describes_itself(t):
    src = t.vmm(t.daemon("a"), memory="32M", payload="writer", working_set="1M", cpus=2)
    t.assert_runs(src)
    saved = save(t, src, f"{t.dir}/saved")
    names = [name for name, _ in saved.sections]
    t.check(names.count("kvm-vcpu") == 2 and "serial" in names, f"the sections: {names}")
    back = t.vmm(src.daemon, memory="32M", payload=None, incoming=True, cpus=2)
    back.command("migrate-incoming", {"uri": f"file:{t.dir}/saved"})
    completed(t, back)
    t.assert_runs(back)


def to_a_command(t, version):
    need(version)
    src, before = guest(t)
    if version == "7.2":
        src.set(peer_version="qemu-7")
    src.command("migrate", {"uri": f"exec:cat > {t.dir}/saved", "allow-weak-handover": True})
    completed(t, src)
    dst = migd_qemu.Qemu(t, version, MEMORY, incoming=True)
    dst.command("migrate-incoming", {"uri": f"exec:cat {t.dir}/saved"})
    completed(t, dst)
    t.check(migd_pattern.digest(dst.memory_file) == before, "all bytes are in QEMU")
    t.check(dst.run_state() == "running", f"it runs: {dst.run_state()}")


def test_7_2_loads_it(t):
    to_a_command(t, "7.2")


def test_10_0_loads_it(t):
    to_a_command(t, "10.0")


def from_a_command(t, version):
    need(version)
    src = migd_qemu.Qemu(t, version, MEMORY)
    migd_pattern.write(src.memory_file, "mixed")
    before = migd_pattern.digest(src.memory_file)
    src.command("migrate", {"uri": f"exec:cat > {t.dir}/saved"})
    completed(t, src)
    dst, _ = guest(t, incoming=True)
    dst.command("migrate-incoming", {"uri": f"file:{t.dir}/saved"})
    completed(t, dst)
    t.check(migd_pattern.digest(dst.memory_file) == before, "all bytes came from QEMU")


def test_7_2_saves_it(t):
    from_a_command(t, "7.2")


def test_10_0_saves_it(t):
    from_a_command(t, "10.0")


def test_a_running_guest_needs_leave(t):
    src, _ = guest(t)
    src.command("migrate", {"uri": f"exec:cat > {t.dir}/saved"})
    info = t.wait_end_of(src)
    t.check(info["status"] == "failed" and "allow-weak-handover" in info["error-desc"], f"it says {info}")
    t.check(src.run_state() == "running", f"the guest runs on: {src.run_state()}")
    src.command("stop")
    src.command("migrate", {"uri": f"exec:cat > {t.dir}/saved"})
    completed(t, src)


migdtest.main()

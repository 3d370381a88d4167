#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 180
"""mapped-ram files: what migd saves QEMU 10.0 loads, and the other way round; through both, nothing gets lost."""

import os

import migd_pattern
import migd_qemu
import migdtest
from migd_mapped import need_direct_io

MEMORY = "32M"
OFFSET = 0x3000
VERSION = "10.0"


def need():
    path, why = migd_qemu.program(VERSION)
    if not path:
        raise migdtest.Skip(why)


def settings(multifd, direct_io):
    capabilities = {"mapped_ram": True, **({"multifd": True} if multifd else {})}
    parameters = {**({"multifd-channels": 3} if multifd else {}), **({"direct-io": True} if direct_io else {})}
    return capabilities, parameters


def set_up(side, multifd=False, direct_io=False):
    """`multifd` and `direct_io`: on both sides, or "migd" or "qemu": on that one only."""
    kind = "qemu" if isinstance(side, migd_qemu.Qemu) else "migd"
    capabilities, parameters = settings(multifd in (True, kind), direct_io in (True, kind))
    side.command("migrate-set-capabilities", {
        "capabilities": [{"capability": c.replace("_", "-"), "state": s} for c, s in capabilities.items()]})
    if parameters:
        side.command("migrate-set-parameters", parameters)


def guest(t, incoming=False):
    vmm = t.vmm(t.daemon(f"d{len(t.processes)}"), memory=MEMORY, ram_only=migd_qemu.BLOCK, incoming=incoming)
    migd_pattern.write(vmm.memory_file, "hole" if incoming else "mixed")
    return vmm


def qemu(t, incoming=False):
    vmm = migd_qemu.Qemu(t, VERSION, MEMORY, incoming=incoming)
    if not incoming:
        migd_pattern.write(vmm.memory_file, "mixed")
    return vmm


def through_a_file(t, save, load, offset=0, lazy=False, **how):
    """Save a guest with one, load it with the other, which may be a migd that reads its memory later."""
    need()
    src, dst = save(t), load(t, incoming=True)
    for side in (src, dst):
        set_up(side, **how)
    before, path = migd_pattern.digest(src.memory_file), f"{t.dir}/saved"
    with open(path, "wb") as f:
        f.write(b"X" * offset)
    uri = f"file:{path}" + (f",offset={offset}" if offset else "")
    for side, command, more in ((src, "migrate", {}), (dst, "migrate-incoming", {"lazy": True} if lazy else {})):
        side.command(command, {"uri": uri, **more})
        info = t.wait_end_of(side)
        t.check(info["status"] == "completed", f"{side.label} says {info}")
    t.check(migd_pattern.digest(dst.memory_file) == before, "all bytes came")
    with open(path, "rb") as f:
        t.check(f.read(offset) == b"X" * offset, "what was before the offset is still there")
    return path


def test_migd_to_qemu(t):
    through_a_file(t, guest, qemu)


def test_qemu_to_migd(t):
    through_a_file(t, qemu, guest)


def test_qemu_to_migd_lazily(t):
    through_a_file(t, qemu, guest, lazy=True)
    through_a_file(t, qemu, guest, lazy=True, multifd=True, offset=OFFSET)


def test_migd_to_qemu_at_an_offset(t):
    through_a_file(t, guest, qemu, offset=OFFSET)


def test_qemu_to_migd_at_an_offset(t):
    through_a_file(t, qemu, guest, offset=OFFSET)


def test_migd_to_qemu_by_several_threads(t):
    through_a_file(t, guest, qemu, multifd=True)


def test_qemu_to_migd_by_several_threads(t):
    through_a_file(t, qemu, guest, multifd=True)


def test_one_side_by_several_threads(t):
    """Nobody can tell from the file."""
    through_a_file(t, guest, qemu, multifd="migd")
    through_a_file(t, qemu, guest, multifd="migd", offset=OFFSET)


def test_migd_to_qemu_with_direct_io(t):
    need_direct_io(t)
    through_a_file(t, guest, qemu, multifd=True, direct_io=True)
    through_a_file(t, guest, qemu, multifd=True, direct_io="migd", offset=OFFSET)


def test_qemu_to_migd_with_direct_io(t):
    need_direct_io(t)
    through_a_file(t, qemu, guest, multifd=True, direct_io=True)
    through_a_file(t, qemu, guest, multifd=True, direct_io="migd")


def test_migd_to_migd_holes_stay_holes(t):
    path = through_a_file(t, guest, guest)
    t.check(migd_pattern.allocated(path) < os.path.getsize(path), "zero pages are holes in the file")


migdtest.main()

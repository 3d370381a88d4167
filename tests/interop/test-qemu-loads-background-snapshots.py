#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm interop
# TIMEOUT: 180
"""A background snapshot is a stream like any other: QEMU loads it, and its analyser reads it."""

import json
import os
import subprocess
import sys

import migd_pattern
import migd_process
import migd_qemu
import migd_saved
import migdtest
from migd_snapshot import passes

ANALYZER = os.path.join(migd_process.SOURCE_DIR, "build", "qemu", "analyze-migration.py")
MEMORY = "32M"


def save(t, vmm, *capabilities):
    vmm.command("migrate-set-capabilities", {"capabilities": [
        {"capability": c, "state": True} for c in ("background-snapshot", *capabilities)]})
    vmm.command("migrate", {"uri": f"file:{t.dir}/saved"})
    info = t.wait_end(vmm)
    t.check(info["status"] == "completed" and vmm.run_state() == "running", f"it says {info}")
    return f"{t.dir}/saved"


def to_qemu(t, version, *capabilities):
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)
    src = t.vmm(t.daemon("a"), memory=MEMORY, ram_only=migd_qemu.BLOCK)
    migd_pattern.write(src.memory_file, "mixed")
    before = migd_pattern.digest(src.memory_file)
    saved = save(t, src, *capabilities)
    dst = migd_qemu.Qemu(t, version, MEMORY, incoming=True, capabilities={c: True for c in capabilities})
    if version == "7.2":
        uri = f"exec:cat {saved}"
    else:
        uri = f"file:{saved}"
    dst.command("migrate-incoming", {"uri": uri})
    info = t.wait_end_of(dst)
    t.check(info["status"] == "completed", f"{dst.label} says {info}")
    t.check(migd_pattern.digest(dst.memory_file) == before, "all bytes came")


def test_10_0(t):
    to_qemu(t, "10.0")


def test_7_2(t):
    to_qemu(t, "7.2")


def test_10_0_mapped_ram(t):
    to_qemu(t, "10.0", "mapped-ram")


def test_analyzer(t):
    """Of a guest that runs."""
    if not os.path.exists(ANALYZER):
        raise migdtest.Skip(f"{ANALYZER} is not there: run scripts/fetch-analyzer")
    src = t.vmm(t.daemon("a"), memory=MEMORY, payload="writer", working_set="8M")
    t.assert_runs(src)
    path = save(t, src)
    for what in "state", "desc":
        done = subprocess.run([sys.executable, ANALYZER, "-f", path, "-d", what], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=120)
        t.check(done.returncode == 0, f"analyze-migration.py -d {what}: {done.stderr[-2000:]}")
        t.check(json.loads(done.stdout), f"analyze-migration.py -d {what} says nothing")


def test_described(t):
    """Section by section: memory first, each page once, the state behind it."""
    src = t.vmm(t.daemon("a"), memory=MEMORY, payload="writer", working_set="8M")
    migd_process.wait_until(lambda: passes(src) >= 2, "the guest has written all of its memory", 60, alive=[src])
    with open(save(t, src), "rb") as f:
        saved = migd_saved.Saved(f.read())
    names = [name for name, _ in saved.sections]
    t.check("globalstate" in names and len(names) > 3, f"the sections: {names}")
    t.check(sum(1 for p in saved.pages.values() if p) >= 2048, "its working set is in it")


migdtest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: interop
# TIMEOUT: 120
"""A QEMU that comes to a host which has guests enough is not read from until it is its turn; then every byte arrives."""

import time

import migd_pattern
import migd_qemu
import migdtest
from migd_process import wait_until

MEMORY = "16M"


def test_waits(t):
    version = "10.0"
    path, why = migd_qemu.program(version)
    if not path:
        raise migdtest.Skip(why)
    src, dst = t.pair(working_set="2M")
    t.b.qmp.command("host-set-parameters", {"max-incoming": 1})
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    # A QEMU gets its guest from a migd; it is sent back to the host that is busy.
    origin = t.vmm(t.a, name="q", memory=MEMORY, ram_only=migd_qemu.BLOCK)
    migd_pattern.write(origin.memory_file, "random")
    before = migd_pattern.digest(origin.memory_file)
    qemu = migd_qemu.Qemu(t, version, MEMORY, incoming=True)
    origin.command("migrate", {"uri": qemu.listen("tcp:127.0.0.1:0")})
    for side in origin, qemu:
        t.check(t.wait_end_of(side)["status"] == "completed", f"{side.label}: {side.migration()}")
    back = t.vmm(t.b, name="q", memory=MEMORY, ram_only=migd_qemu.BLOCK, incoming=True)
    qemu.set_capabilities(return_path=True)
    qemu.command("migrate", {"uri": t.listen(back)})
    wait_until(lambda: back.migration().get("queue", {}).get("position") == 1, "it waits")
    time.sleep(2)
    t.check(back.status() == "setup" and qemu.migration()["status"] in ("setup", "active"),
            f"{back.migration()} {qemu.migration()}")
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", f"{src.migration()}")
    for side in back, qemu:
        t.check(t.wait_end_of(side)["status"] == "completed", f"{side.label}: {side.migration()}")
    t.check(migd_pattern.digest(back.memory_file) == before, "all bytes came")


migdtest.main()

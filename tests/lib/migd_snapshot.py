# SPDX-License-Identifier: Apache-2.0
"""Background snapshots of a guest that writes all the time, and guests made of them."""

import os
import time

from migd_process import wait_until


def on(side, *capabilities):
    side.command("migrate-set-capabilities",
                 {"capabilities": [{"capability": c, "state": True} for c in capabilities]})


def guest(t, mapped=False, **options):
    """A guest that writes all the time, with all of its working set touched; its snapshots go to t.dir."""
    options = {"memory": "64M", "working_set": "16M", **options}
    t.a = t.daemon("a")
    src = t.vmm(t.a, **options)
    t.options = options
    wait_until(lambda: passes(src) >= 2, "the guest has written all of its memory", 60, alive=[src])
    on(src, "background-snapshot", *(["mapped-ram"] if mapped else []))
    return src


def restore(t, uri, mapped=False):
    """A VMM of another daemon that took the image at `uri`."""
    t.b = t.daemon("b")
    dst = t.incoming(t.b, t.options)
    if mapped:
        on(dst, "mapped-ram")
    dst.command("migrate-incoming", {"uri": uri, "exit-on-error": False})
    info = t.wait_end(dst)
    t.check(info["status"] == "completed", f"the image is loaded: {info}")
    return dst


def begin(t, src, uri=None):
    src.command("migrate", {"uri": uri or f"file:{t.dir}/guest"})


def finish(t, src):
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")
    t.check(src.run_state() == "running", f"the guest runs on: {src.run_state()}")
    return info


def passes(vmm):
    """Which time the guest's first vCPU goes through its memory, from 1 on; 0: it has not begun."""
    return vmm.mem.detail(0)


def wait_passes(t, vmm, n):
    want = passes(vmm) + n
    wait_until(lambda: passes(vmm) >= want, f"the guest in {vmm.label} writes all of its memory {n} times", 60, alive=[vmm])
    t.guest_ok(vmm)


def stuck(t, src, uri=None):
    """A snapshot that takes for ever, of which the guest has written much over."""
    t.make_slow(src)
    begin(t, src, uri)
    t.wait_active(src)
    wait_passes(t, src, 1)


def files_of(directory):
    return sorted(n for n in os.listdir(directory) if n.startswith("guest"))


def is_still(vmm, seconds=0.2):
    first = vmm.mem.heartbeat
    time.sleep(seconds)
    return vmm.mem.heartbeat == first

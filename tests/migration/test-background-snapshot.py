#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""Background snapshots: the guest runs on while its memory is written out, and the image is of one instant."""

import os
import signal
import time

import migdtest
from migd_mapped import Mapped
from migd_mount import small_disk
from migd_process import wait_until

PAGE = 4096


def on(side, *capabilities):
    side.command("migrate-set-capabilities",
                 {"capabilities": [{"capability": c, "state": True} for c in capabilities]})


def guest(t, mapped=False, **options):
    """A guest that writes all the time, with all of its working set touched; its snapshots go to t.dir."""
    options = {"memory": "64M", "working_set": "16M", **options}
    t.a = t.daemon("a")
    src = t.vmm(t.a, **options)
    t.options = options
    t.assert_runs(src)
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
    """How many times the guest's first vCPU went through its memory."""
    return vmm.mem.detail(0)


def wait_passes(t, vmm, n):
    want = passes(vmm) + n
    wait_until(lambda: passes(vmm) >= want, f"the guest in {vmm.label} writes all of its memory {n} times", 60, alive=[vmm])
    t.guest_ok(vmm)


def snapshot_under_load(t, mapped, **options):
    """While the image is written, slowly, the guest writes all of its memory over."""
    src = guest(t, mapped, **options)
    wait_passes(t, src, 2)
    src.set(max_bandwidth=8 << 20)
    begin(t, src)
    t.wait_active(src)
    before = passes(src)
    wait_until(lambda: passes(src) > before + 1, "the guest writes over what is not saved yet", 60, alive=[src])
    t.speed_up(src)
    info = finish(t, src)
    wait_passes(t, src, 2)
    t.check(info["snapshot"]["faults"] > 0, f"the guest wrote before its pages' turn came: {info}")
    t.check(info["ram"]["normal"] + info["ram"]["duplicate"] >= info["snapshot"]["pages"], f"each page is saved: {info}")
    t.check(info["downtime"] < 1000 * migdtest.SLOW, f"it stops for its state only: {info}")
    dst = restore(t, f"file:{t.dir}/guest", mapped)
    t.check(passes(dst) < passes(src), "the image is of the instant")
    wait_passes(t, dst, 3)
    t.assert_runs(src)


def test_stream(t):
    snapshot_under_load(t, mapped=False)


def test_mapped_ram(t):
    snapshot_under_load(t, mapped=True)


def test_two_vcpus(t):
    snapshot_under_load(t, mapped=False, cpus=2)


def test_an_image_of_two_instants_is_found_out(t):
    """The check of the others: a few pages as they are later, and the restored guest says so."""
    src = guest(t, mapped=True)
    wait_passes(t, src, 2)
    begin(t, src)
    finish(t, src)
    wait_passes(t, src, 2)
    src.command("stop")
    image, work = Mapped(f"{t.dir}/guest"), 16 << 20
    image.write(image.pages_offset + work + 100 * PAGE, src.mem.map[work + 100 * PAGE:work + 101 * PAGE])
    dst = restore(t, f"file:{t.dir}/guest", mapped=True)
    wait_until(lambda: dst.mem.failures, "the guest finds a page of another instant", 60, alive=[dst])


def test_paused_guest(t):
    src = guest(t)
    src.command("stop")
    begin(t, src)
    t.check(t.wait_end(src)["status"] == "completed", "a stopped guest is saved, too")
    t.check(src.run_state() == "paused", f"and stays stopped: {src.run_state()}")
    dst = restore(t, f"file:{t.dir}/guest")
    t.check(dst.run_state() == "paused", f"as its image does: {dst.run_state()}")
    for vmm in src, dst:
        vmm.command("cont")
        wait_passes(t, vmm, 3)


def test_again_and_again(t):
    """What one leaves does not disturb the next, nor a migration after them."""
    src = guest(t)
    for _ in range(5):
        begin(t, src)
        finish(t, src)
    fds, maps = src.fds(), open(f"/proc/{src.pid}/maps").read().count("\n")
    for _ in range(5):
        begin(t, src)
        finish(t, src)
    t.check(src.fds() == fds, "no descriptor is left")
    t.check(open(f"/proc/{src.pid}/maps").read().count("\n") == maps, "memory is not in more pieces than before")
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "background-snapshot", "state": False}]})
    t.b = t.daemon("b")
    dst = t.incoming(t.b, t.options)
    t.migrate(src, dst)
    wait_passes(t, dst, 3)


def stuck(t, src, uri=None):
    """A snapshot that takes for ever, of which the guest has written much over."""
    t.make_slow(src)
    begin(t, src, uri)
    t.wait_active(src)
    wait_passes(t, src, 1)


def files_of(directory):
    return sorted(n for n in os.listdir(directory) if n.startswith("guest"))


def test_cancelled(t):
    src = guest(t)
    t.assert_cancels_in_time(src, lambda: stuck(t, src))
    wait_until(lambda: not files_of(t.dir), "what was written is removed")
    wait_passes(t, src, 2)


def test_killed_worker(t):
    src = guest(t)
    stuck(t, src)
    worker, = src.daemon.workers()
    os.kill(worker, signal.SIGSTOP)
    # Sooner or later it writes to a page that nobody copies.
    wait_until(lambda: is_still(src), "the guest waits", 60)
    os.kill(worker, signal.SIGKILL)
    wait_passes(t, src, 2)
    t.assert_failed(src, "worker")
    t.assert_untouched(src)
    wait_until(lambda: not files_of(t.dir), "no half file is left")
    t.speed_up(src)
    begin(t, src)
    finish(t, src)
    wait_passes(t, restore(t, f"file:{t.dir}/guest"), 3)


def is_still(vmm, seconds=0.2):
    first = vmm.mem.heartbeat
    time.sleep(seconds)
    return vmm.mem.heartbeat == first


def test_killed_vmm(t):
    """It takes nothing with it that belongs to the image."""
    src = guest(t)
    stuck(t, src)
    src.kill()
    t.speed_up(src)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"the source says {info}")
    wait_passes(t, restore(t, f"file:{t.dir}/guest"), 3)


def test_killed_daemon(t):
    src = guest(t)
    stuck(t, src)
    src.daemon.kill()
    wait_passes(t, src, 1)
    src.daemon = t.a = t.daemon("a")
    src.wait_attached()
    t.wait_active(src)
    t.speed_up(src)
    finish(t, src)
    wait_until(lambda: files_of(t.dir) == ["guest"], "the file has its name")
    wait_passes(t, restore(t, f"file:{t.dir}/guest"), 3)


def test_full_disk(t):
    disk = small_disk(t, "2M")
    src = guest(t)
    for uri in f"file:{disk}/guest", f"file:{disk}/guest,offset=4096":
        begin(t, src, uri)
        t.assert_failed(src, "No space left")
        wait_passes(t, src, 2)
        t.assert_untouched(src)
        if "offset" in uri:
            with open(os.path.join(disk, "guest"), "rb") as f:
                f.seek(4096)
                t.check(f.read(8) == bytes(8), "a torn file is no stream")
            os.unlink(os.path.join(disk, "guest"))
        else:
            wait_until(lambda: not os.listdir(disk), f"no half file is left: {os.listdir(disk)}")


def test_stopped_while_it_is_saved(t):
    """An operator's stop is not held up, be a vCPU waiting for its page; what is saved is as it was before."""
    src = guest(t)
    stuck(t, src)
    src.command("stop")
    t.assert_stopped(src)
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", "saved")
    src.command("cont")
    wait_passes(t, src, 2)
    wait_passes(t, restore(t, f"file:{t.dir}/guest"), 3)


def test_sparse_guest(t):
    """What was never touched is not looked at, not allocated and not in the file."""
    src = guest(t, memory="4G", working_set="4M")
    before = src.allocated()
    begin(t, src)
    info = finish(t, src)
    t.check(info["ram"]["hole"] > 3 << 30 >> 12, f"holes are skipped: {info['ram']}")
    t.check(os.path.getsize(f"{t.dir}/guest") < 32 << 20, "a small file")
    t.check(src.allocated() < before + (8 << 20), f"{src.allocated() - before} bytes more of its memory are there")
    wait_passes(t, restore(t, f"file:{t.dir}/guest"), 3)


def test_command(t):
    """A pipe is no socket: nobody runs there what comes."""
    t.a = t.daemon("a", extra=["--allow-exec"])
    src = t.vmm(t.a, memory="64M", working_set="16M")
    t.options = {"memory": "64M", "working_set": "16M"}
    t.assert_runs(src)
    on(src, "background-snapshot")
    begin(t, src, f"exec:cat > {t.dir}/guest")
    finish(t, src)
    wait_passes(t, restore(t, f"file:{t.dir}/guest"), 3)


def test_to_a_socket(t):
    """Only if it is said that the guest may run twice."""
    src = guest(t)
    t.b = t.daemon("b")
    dst = t.incoming(t.b, t.options)
    uri = t.listen(dst)
    t.assert_refused(src, "migrate", {"uri": uri}, "a second time", "allow-weak-handover")
    t.assert_untouched(src)
    src.command("migrate", {"uri": uri, "allow-weak-handover": True})
    finish(t, src)
    t.check(t.wait_end(dst)["status"] == "completed", "the copy arrived")
    for vmm in src, dst:
        wait_passes(t, vmm, 2)


def test_what_cannot_be(t):
    src = guest(t)
    on(src, "x-ignore-shared")
    t.assert_refused(src, "migrate", {"uri": f"file:{t.dir}/guest"}, "x-ignore-shared")
    t.assert_refused(src, "migrate-set-capabilities",
                     {"capabilities": [{"capability": "multifd", "state": True}]}, "background-snapshot")
    t.assert_untouched(src)


migdtest.main()

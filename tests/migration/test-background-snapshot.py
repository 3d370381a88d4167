#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""Background snapshots: the guest runs on while its memory is written out, and the image is of one instant."""

import os

import migdtest
from migd_mapped import Mapped
from migd_process import wait_until
from migd_snapshot import begin, finish, guest, on, passes, restore, stuck, wait_passes

PAGE = 4096


def snapshot_under_load(t, mapped, **options):
    """While the image is written, slowly, the guest writes all of its memory over."""
    src = guest(t, mapped, **options)
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


def settled(vmm):
    """What its descriptors are once the last worker's channel is closed: the outcome is known a little before."""
    seen = []
    wait_until(lambda: seen.append(vmm.fds()) or len(seen) > 3 and seen[-4:] == 4 * seen[-1:], "descriptors are closed", every=0.1)
    return seen[-1]


def test_again_and_again(t):
    """What one leaves does not disturb the next, nor a migration after them."""
    src = guest(t)
    for _ in range(5):
        begin(t, src)
        finish(t, src)
    fds, maps = settled(src), open(f"/proc/{src.pid}/maps").read().count("\n")
    for _ in range(5):
        begin(t, src)
        finish(t, src)
    t.check(settled(src) == fds, "no descriptor is left")
    t.check(open(f"/proc/{src.pid}/maps").read().count("\n") == maps, "memory is not in more pieces than before")
    src.command("migrate-set-capabilities", {"capabilities": [{"capability": "background-snapshot", "state": False}]})
    t.b = t.daemon("b")
    dst = t.incoming(t.b, t.options)
    t.migrate(src, dst)
    wait_passes(t, dst, 3)


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


def refused_vmm(t, *words, **options):
    t.a = t.daemon("a")
    src = t.vmm(t.a, memory="64M", **options)
    t.assert_runs(src)
    on(src, "background-snapshot")
    begin(t, src)
    t.assert_failed(src, *words)
    t.assert_untouched(src)


def test_device_that_is_sent_while_it_runs(t):
    refused_vmm(t, "vault", "cannot be part of a background snapshot", payload="vault", extra=("--vault", "1048576"))


def test_damaged_memory(t):
    refused_vmm(t, "damaged", payload="idle", extra=("--poison", str(48 << 20)))


migdtest.main()

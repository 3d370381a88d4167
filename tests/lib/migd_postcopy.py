# SPDX-License-Identifier: Apache-2.0
"""Getting two guests' daemons into post-copy, holding them there, and seeing it through."""

import os
import signal

from migd_process import SLOW, wait_until

MEMORY = {"memory": "64M", "working_set": "8M"}


def capabilities(vmm, *names):
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": True} for n in names]})


def prepare(t, *more, via_proxy=True, rule=None, **options):
    """Both sides ready; (source, destination, link or None, uri). `options`: t.pair()'s."""
    src, dst = t.pair(**MEMORY, **options)
    for vmm in src, dst:
        capabilities(vmm, "postcopy-ram", "events", *more)
    t.fill(src)
    uri = t.listen(dst)
    link = t.proxy(int(uri.rpartition(":")[2]), rule=rule) if via_proxy else None
    return src, dst, link, link.uri if link else uri


def enter_postcopy(t, src, dst, uri, rate=1 << 20):
    """Migrate, switch, and let the background be so slow that post-copy lasts until finish()."""
    enter_postcopy_as_is(t, src, dst, uri, rate)
    t.assert_only_runs(dst, src)


def enter_postcopy_as_is(t, src, dst, uri, rate):
    """The same, be the guest running or stopped."""
    for vmm in src, dst:
        vmm.daemon.qmp.skip_events()
    t.make_slow(src)
    src.set(max_postcopy_bandwidth=int(rate / SLOW))
    src.command("migrate", {"uri": uri})
    t.wait_active(src)
    src.command("migrate-start-postcopy")
    wait_status(t, src, "postcopy-active")
    wait_status(t, dst, "postcopy-active")


def wait_status(t, vmm, status, timeout=60):
    def reached():
        info = vmm.migration()
        now = info.get("status")
        t.check(now == status or now not in ("completed", "failed", "cancelled"), f"{vmm.label} ended: {info}")
        return info if now == status else None
    return wait_until(reached, f"{vmm.label} is {status}", timeout, alive=[vmm.daemon])


def finish(t, src, dst):
    """At full speed to the end; the guest finds all of its memory."""
    src.set(max_postcopy_bandwidth=0)
    for vmm in src, dst:
        info = t.wait_end(vmm)
        t.check(info["status"] == "completed", f"{vmm.label}: {info}")
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))
    t.assert_only_runs(dst, src)
    t.check(dst.mem.map[32 << 20:40 << 20] == b"x" * (8 << 20), "what was filled in arrived")


def wait_freed(src, before):
    """Until it has released some of what it had allocated then."""
    wait_until(lambda: src.allocated() < before - (2 << 20), "something is freed", alive=[src.daemon])


def succeed_when_freed(t, runs=True, **options):
    """Capability release-ram: the source's worker is killed when something was freed; its successor goes on to the end."""
    src, dst, _, uri = prepare(t, "release-ram", via_proxy=False, **options)
    before = src.allocated()
    if not runs:
        src.command("stop")
    enter_postcopy_as_is(t, src, dst, uri, 8 << 20)
    wait_freed(src, before)
    os.kill(src.worker(), signal.SIGKILL)
    wait_until(lambda: "a successor of the lost worker" in src.daemon.log_text(), "a successor", alive=[src.daemon])
    wait_status(t, src, "postcopy-active")
    if not runs:
        dst.command("cont")
    finish(t, src, dst)


def states(vmm):
    vmm.daemon.qmp.poll_events()
    return [e.data["status"] for e in vmm.daemon.qmp.events if e.name == "MIGRATION"]

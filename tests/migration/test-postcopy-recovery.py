#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""The network fails in post-copy: the guest runs on at the destination, both sides pause, meet again, and nothing is lost."""

import migdtest
from migd_process import wait_until

MEMORY = {"memory": "64M", "working_set": "8M"}


def capabilities(vmm, *names):
    vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": n, "state": True} for n in names]})


def prepare(t, *more, via_proxy=True, rule=None):
    """Both sides ready; (source, destination, link or None, uri)."""
    src, dst = t.pair(**MEMORY)
    for vmm in src, dst:
        capabilities(vmm, "postcopy-ram", "events", *more)
    t.fill(src)
    uri = t.listen(dst)
    link = t.proxy(int(uri.rpartition(":")[2]), rule=rule) if via_proxy else None
    return src, dst, link, link.uri if link else uri


def enter_postcopy(t, src, dst, uri, rate=1 << 20):
    """Migrate, switch, and let the background be so slow that post-copy lasts until finish()."""
    for vmm in src, dst:
        vmm.daemon.qmp.skip_events()
    t.make_slow(src)
    src.set(max_postcopy_bandwidth=rate)
    src.command("migrate", {"uri": uri})
    t.wait_active(src)
    src.command("migrate-start-postcopy")
    wait_status(t, src, "postcopy-active")
    wait_status(t, dst, "postcopy-active")
    t.assert_only_runs(dst, src)


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


def states(vmm):
    vmm.daemon.qmp.poll_events()
    return [e.data["status"] for e in vmm.daemon.qmp.events if e.name == "MIGRATION"]


def test_reconnects_by_itself(t):
    src, dst, link, uri = prepare(t)
    enter_postcopy(t, src, dst, uri)
    for _ in range(3):
        before = len(link.clients)
        link.cut()
        wait_until(lambda: len(link.clients) > before, "the source connects again")
        wait_status(t, src, "postcopy-active")
        wait_status(t, dst, "postcopy-active")
        t.assert_only_runs(dst, src)
    finish(t, src, dst)
    again = ["postcopy-paused", "postcopy-recover-setup", "postcopy-recover", "postcopy-active"]
    t.check(states(src)[-13:] == 3 * again + ["completed"], f"the source's states: {states(src)}")
    del again[1]
    t.check(states(dst)[-10:] == 3 * again + ["completed"], f"the destination's states: {states(dst)}")


def test_with_urgent_channel(t):
    src, dst, link, uri = prepare(t, "postcopy-preempt")
    enter_postcopy(t, src, dst, uri)
    for _ in range(2):
        before = len(link.clients)
        link.cut()
        wait_until(lambda: len(link.clients) >= before + 2, "both channels come again")
        wait_status(t, src, "postcopy-active")
        wait_status(t, dst, "postcopy-active")
    finish(t, src, dst)


def test_cut_while_they_agree(t):
    """At each message of the recovery in turn; a connection later it is done."""
    steps = [("out", "hello"), ("out", "cmd-ask"), ("back", "reply-incomplete"), ("out", "cmd-recv-bitmap"),
             ("back", "reply-recv-bitmap"), ("out", "cmd-postcopy-resume"), ("back", "reply-resume-ack"),
             ("out", "end-ram"), ("back", "reply-shut")]
    src, dst, link, uri = prepare(t)
    enter_postcopy(t, src, dst, uri)
    done = []

    def rule(direction, name, _count):
        if steps and (direction, name) == steps[0]:
            done.append(steps.pop(0))
            return "cut-before"
        return None
    link.refuse_after_cut = False
    link.rule = rule
    steps.pop(0)  # the opening's HELLO is no message of post-copy's
    link.cut()
    wait_until(lambda: len(steps) == 2, f"the link is cut at each step: {done}", 60)
    finish(t, src, dst)
    t.check(not steps, f"the link was not cut at {steps}")


def pause(t, src, dst, who):
    who.command("migrate-pause")
    text = wait_status(t, who, "postcopy-paused")["error-desc"]
    t.check("migrate-pause" in text, f"{text!r} says who paused")
    for vmm in src, dst:
        wait_status(t, vmm, "postcopy-paused")


def test_by_hand(t):
    """migrate-pause, at either side, and another address each time; a bad one changes nothing."""
    src, dst, _, uri = prepare(t, via_proxy=False)
    enter_postcopy(t, src, dst, uri)
    for i, who in enumerate((src, dst)):
        pause(t, src, dst, who)
        t.assert_refused(src, "migrate_cancel", {}, "post-copy", "cancel")
        t.assert_refused(dst, "migrate-recover", {"uri": "tcp:127.0.0.1:x"})
        t.assert_refused(dst, "migrate-recover", {"uri": "unix:/nowhere/at/all"}, "/nowhere/at/all")
        t.assert_refused(dst, "migrate-recover", {"uri": "file:/tmp/x"}, "connection")
        t.assert_refused(src, "migrate-recover", {"uri": "tcp:127.0.0.1:0"}, "paused")
        t.assert_refused(dst, "migrate", {"uri": uri, "resume": True}, "resume")
        src.command("migrate", {"uri": "unix:/nowhere/at/all", "resume": True})
        info = wait_until(lambda: (lambda m: m if "/nowhere" in m["error-desc"] else None)(src.migration()), "resume fails")
        t.check(info["status"] == "postcopy-paused", f"it stays paused: {info}")
        address = f"unix:{t.dir}/again-{i}"
        dst.command("migrate-recover", {"uri": f"unix:{t.dir}/never-used-{i}"})
        dst.command("migrate-recover", {"uri": address})
        dst.command("migrate-recover", {"uri": address})
        src.command("migrate", {"uri": address, "resume": True})
        for vmm in src, dst:
            wait_status(t, vmm, "postcopy-active")
        t.assert_only_runs(dst, src)
    t.assert_refused(src, "migrate", {"uri": address, "resume": True}, "resume")
    finish(t, src, dst)


def test_settings_are_refused_while_paused(t):
    src, dst, _, uri = prepare(t, via_proxy=False)
    enter_postcopy(t, src, dst, uri)
    pause(t, src, dst, src)
    for vmm in src, dst:
        t.assert_refused(vmm, "migrate-set-capabilities",
                         {"capabilities": [{"capability": "postcopy-ram", "state": False}]}, "progress")
        t.assert_refused(vmm, "migrate-pause", {}, "postcopy-paused")
    t.assert_refused(src, "migrate", {"uri": uri}, "progress")
    src.command("migrate", {"uri": uri, "resume": True})
    finish(t, src, dst)


migdtest.main()

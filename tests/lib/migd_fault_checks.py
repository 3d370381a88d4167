# SPDX-License-Identifier: Apache-2.0
"""
What has to hold after each cell of the fault matrix, once the fault is over and what was killed is succeeded:

- exactly one side runs the guest. None is allowed where the VMM that was killed had it: the source's, if the target's was never
  told to run it; the target's, once it was, and the source's is retired
- a side that is in doubt says so, and migrate-resolve ends that
- the guest finds its memory and its disk as it left them, and is not throttled
- nothing is left: no worker, descriptor, map of dirty pages, thread, file of a worker's
- the history of both sides says `completed` exactly if the target got the guest
- the guest can migrate, from where it runs now
"""

import collections
import os
import signal
import time

import migd_process
from migd_process import SLOW, children, wait_until
from migd_qmp import QmpError

SETTLE_SECONDS = 90
LEAVE_SECONDS = 60           # a source looks for a target that is gone for twenty
DOUBT_SECONDS = 20           # then an operator decides
ENDED = ("none", "completed", "failed", "cancelled")
UNTHROTTLED = 0.2            # of the beats a second that there were before; the throttle of these tests leaves 0.01
OTHER = {"source": "target", "target": "source"}
BUSY_KVM = "no reply: Connection timed out"   # to whatever was asked of the library
DIRTY_MAP = "/memfd:migd-dirty"
TSAN = os.environ.get("MIGD_SANITIZE") == "thread"


def threads(pid):
    """How many it has, without ThreadSanitizer's own, which comes with the first that the process starts, and stays."""
    n = len(os.listdir(f"/proc/{pid}/task"))
    return n - 1 if TSAN and n > 1 else n


def beats_a_second(vmm, seconds=0.2):
    first, began = vmm.mem.heartbeat, time.monotonic()
    time.sleep(seconds)
    return (vmm.mem.heartbeat - first) / (time.monotonic() - began)


def is_attached(daemon):
    """Whether a VMM is at this daemon."""
    return bool((daemon.guest("g") or {}).get("attached"))


class Before:
    """What the processes had before it began."""

    def __init__(self, run):
        self.rate = beats_a_second(run.vmms["source"])
        self.attached = {side: is_attached(daemon) for side, daemon in run.daemons.items()}
        self.fds = {}
        self.threads = {}
        for side in run.daemons:
            for process in run.daemons[side], run.vmms[side]:
                if process and process.running():
                    self.fds[process.label] = process.fds()
                    self.threads[process.label] = threads(process.pid)
        # A VMM that waits for its guest has fewer than one that runs it.
        self.vmm_threads = self.threads.get(run.vmms["source"].label)
        # Statistics of the migration that was last.
        for daemon in run.daemons.values():
            self.fds[daemon.label].append("/memfd")


# ---- the end ----

def status_of(run, side):
    """(status, in doubt) of its migration."""
    try:
        info = run.vmms[side].migration()
    except QmpError:
        return "none", False
    return info.get("status", "none"), info.get("handover", {}).get("in-doubt", False)


def settled(run):
    """Both ended; or the target's still waits for somebody, who will not come."""
    now = {side: status_of(run, side) for side in run.vmms if run.vmms[side]}
    if any(doubt for _, doubt in now.values()):
        return False
    source_ended = now["source"][0] in ENDED
    return source_ended and (now["target"][0] in ENDED or now["target"][0] == "setup")


def resolve(run):
    """As docs/errors-and-limits.md tells an operator to: look where the guest runs, and say so to whoever does not know."""
    runs = [side for side in run.vmms if runs_now(run.vmms[side])]
    for side in run.vmms:
        if status_of(run, side)[1]:
            outcome = "run" if side == "source" and not runs and not was_activated(run) else "discard"
            try:
                run.vmms[side].command("migrate-resolve", {"outcome": outcome, "fenced": True})
            except QmpError:
                if status_of(run, side)[1]:  # the peers agreed meanwhile, otherwise
                    raise


def resume(run):
    """Of post-copy that is paused, as docs/postcopy-recovery.md tells an operator to, once the cause is gone: whether it is tried."""
    return status_of(run, "source")[0] == "postcopy-paused" and run.command("source", "migrate", {"uri": run.link.uri, "resume": True})


def settle(run):
    """Wait for the end; "doubt>" if an operator had to help."""
    deadline = time.monotonic() + DOUBT_SECONDS * SLOW
    helps = [resume, resolve]
    word = ""

    def over():
        nonlocal deadline, word
        while time.monotonic() > deadline and helps and any(status_of(run, side)[1] for side in run.vmms):
            word = "doubt>"
            if helps.pop(0)(run):
                deadline = time.monotonic() + DOUBT_SECONDS * SLOW
        return settled(run)

    try:
        wait_until(over, "both sides end", SETTLE_SECONDS, every=0.02)
    except AssertionError as e:
        raise AssertionError(f"{e}: {({s: status_of(run, s) for s in run.vmms})}") from None
    if status_of(run, "target")[0] == "setup":
        run.vmms["target"].command("migrate_cancel")
    wait_until(lambda: status_of(run, "target")[0] in ENDED, "the target waits no more", SETTLE_SECONDS)
    return word


# ---- who runs ----

def runs_now(vmm, seconds=0.3):
    first = vmm.mem.heartbeat
    time.sleep(seconds * SLOW)
    return vmm.running() and vmm.mem.heartbeat != first


def was_activated(run):
    return "handover running" in run.daemons["target"].log_text()


def may_be_gone(run):
    """Whether nobody has to run it: the VMM that was killed had it."""
    if run.killed_vmm == "source":
        return not was_activated(run)
    return run.killed_vmm == "target" and was_activated(run) and status_of(run, "source")[0] == "completed"


def who_runs(run):
    """The side that runs the guest, and no other does; None: it died with its VMM."""
    deadline = time.monotonic() + 10 * SLOW
    while True:
        runs = [side for side, vmm in run.vmms.items() if vmm and runs_now(vmm)]
        if len(runs) > 1:
            raise AssertionError("the guest runs on both sides")
        if runs:
            return runs[0]
        if may_be_gone(run):
            return None
        if time.monotonic() > deadline:
            raise AssertionError("the guest runs nowhere: " + "; ".join(
                f"{side}: {status_of(run, side)}, VMM {'runs' if vmm.running() else 'ended'}" for side, vmm in run.vmms.items()))


def guest_is_well(run, side, before):
    """It verifies all of its memory and disk: two laps, as fast as ever."""
    vmm = run.vmms[side]
    lap = vmm.mem.detail(1)
    wait_until(lambda: vmm.mem.detail(1) >= lap + 2, f"the guest in {vmm.label} verifies memory and disk", 60, alive=[vmm])
    run.t.guest_ok(vmm)
    wait_until(lambda: beats_a_second(vmm) > before.rate * UNTHROTTLED, f"the guest in {vmm.label} is not throttled", 30)


# ---- what is left ----

def workers_left(run):
    """Workers, their daemons' and orphans. A target's may wait for a source to say that it knows (SETTLED), for an hour."""
    orphans = [p for p in children(os.getpid()) if migd_process.argv0(p) == "migd-worker" and migd_process.is_running(p)]
    return {"source": run.daemons["source"].workers(), "target": run.daemons["target"].workers(), "nobody": orphans}


def awaits_settled(run, side):
    """The worker of a migration that ended, which keeps the answer for a peer that may not have got it."""
    return status_of(run, side)[0] in ENDED


def surplus(now, then):
    return dict(collections.Counter(now) - collections.Counter(then))


def check_daemon(run, side, before):
    daemon = run.daemons[side]
    expected = list(before.fds[daemon.name])
    if before.attached[side] and not is_attached(daemon):
        expected.remove("socket")
    try:
        wait_until(lambda: not surplus(daemon.fds(), expected), "", 20)
    except AssertionError:
        raise AssertionError(f"{daemon.label} has descriptors too many: {surplus(daemon.fds(), expected)}") from None
    wait_until(lambda: threads(daemon.pid) <= before.threads[daemon.name], f"{daemon.label} has as few threads as before")
    for folder in "workers", "migrations":
        left = os.listdir(os.path.join(daemon.state_dir, folder))
        if left:
            raise AssertionError(f"{daemon.label}: left in {folder}: {left}")


def check_vmm(vmm, before, n_workers):
    """Each worker has a channel to it."""
    def left():
        with open(f"/proc/{vmm.pid}/maps") as f:
            maps = [line.split(None, 5)[5].strip() for line in f if DIRTY_MAP in line]
        expected = before.fds[vmm.label] + n_workers * ["socket"]
        return surplus(vmm.fds(), expected), maps, max(0, threads(vmm.pid) - before.vmm_threads)
    try:
        wait_until(lambda: left() == ({}, [], 0), "", 20)
    except AssertionError:
        raise AssertionError(f"{vmm.label} still has (descriptors, maps of dirty pages, threads): {left()}") from None


def nothing_is_left(run, here, before):
    wait_until(lambda: not workers_left(run)["source"] and not workers_left(run)["nobody"],
               f"no worker is left: {workers_left(run)}", LEAVE_SECONDS)
    if not workers_left(run)["target"]:
        try:
            check_daemon(run, "target", before)
        except AssertionError:
            if not workers_left(run)["target"]:  # a successor of the one that was killed may have come meanwhile
                raise
    if workers_left(run)["target"] and not awaits_settled(run, "target"):
        raise AssertionError(f"a worker is left: {workers_left(run)}")
    check_daemon(run, "source", before)
    if here:
        check_vmm(run.vmms[here], before, len(workers_left(run)[here]))


# ---- history ----

def died_incomplete(run):
    """Whether the guest, which ran in post-copy, died when pages of it were still to come."""
    return run.killed_vmm == "target" and "pages still to come" in run.daemons["target"].log_text()


def check_history(run, here):
    """Who got the guest, by what both sides remember. One that died incomplete arrived only for a source that was told to discard."""
    arrived = here == "target" or (here is None and run.killed_vmm == "target")
    for side, daemon in run.daemons.items():
        entries = daemon.qmp.command("query-migration-history", {"guest": "g"})
        said = [e["status"] for e in entries]
        if here is None and side == "target" and died_incomplete(run):
            arrived = False
        if arrived and "completed" not in said or not arrived and "completed" in said:
            raise AssertionError(f"the guest {'arrived' if arrived else 'stayed'}; the history of the {side} says {said}")
        if any(s not in ENDED for s in said):
            raise AssertionError(f"the history of the {side} has one that did not end: {said}")


# ---- once more ----

def end_vmm(vmm):
    """On a machine that is busy KVM takes its time to let go of one."""
    if vmm.running():
        vmm.signal(signal.SIGKILL)
        vmm.wait_exit(60)


def fresh_target(run, side):
    """A VMM that waits in place of the one that was there."""
    end_vmm(run.vmms[side])
    wait_until(lambda: not is_attached(run.daemons[side]), "the former VMM is detached")
    run.vmms[side] = run.t.incoming(run.daemons[side], run.options)
    return run.vmms[side]


def migrate_once_more(run, here, tries=3):
    """From where it runs now to a fresh VMM on the other side. KVM may be too busy to turn dirty logging on in time."""
    t, src, dst = run.t, run.vmms[here], fresh_target(run, OTHER[here])
    src.set(max_bandwidth=0, downtime_limit=300)
    src.set_capabilities(**dict.fromkeys(run.scenario.capabilities, False))
    try:
        t.migrate(src, dst)
    except AssertionError as e:
        if BUSY_KVM not in str(e) or tries == 1:
            raise
        return migrate_once_more(run, here, tries - 1)
    lap = dst.mem.detail(1)
    wait_until(lambda: dst.mem.detail(1) >= lap + 2, "the guest verifies all after another migration", 60, alive=[dst])
    return t.guest_ok(dst)


def look_through(run, before):
    """All of it; who has the guest now, in a word."""
    word = settle(run)
    here = who_runs(run)
    if here:
        guest_is_well(run, here, before)
    nothing_is_left(run, here, before)
    check_history(run, here)
    if here:
        migrate_once_more(run, here)
    return word + (here or "died with its VMM")

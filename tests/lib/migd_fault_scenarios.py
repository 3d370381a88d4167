# SPDX-License-Identifier: Apache-2.0
"""
The migrations of the fault matrix, and which of them gets to which fault point.

    prepare(run)         makes the processes, run.vmms and run.link
    go(run)              gives the commands, in a thread of its own: who gets them may be stopped
    is_over(run)         nothing more will happen: who was not at the point by now will not get there
    before               (point, who): where it is stopped first, for
    meanwhile(run, pid)  to do something that leads to the points of this scenario
"""

import contextlib
import os
import socket

import migd_fault_checks
import migd_fault_link
from migd_process import SLOW, wait_until
from migd_qmp import QmpClosed, QmpError

DISK_BYTES = 1 << 20
# A lap over its 64 blocks takes a tenth of a second, most of which it sleeps; 8 pages of memory are checked with each.
GUEST = {"payload": "disk", "args": {3: 8, 4: 4}}
RECONNECT_MS = 3000


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


class Precopy:
    """A guest that checks its memory and its disk moves over a link."""

    before = None
    capabilities = {}

    def prepare(self, run):
        disk = os.path.join(run.t.dir, "disk")
        with open(disk, "wb") as f:
            f.truncate(DISK_BYTES)
        run.pair(**GUEST, extra=("--disk", disk))
        for vmm in run.vmms.values():
            vmm.set(reconnect_timeout=RECONNECT_MS)
        run.port = free_port()
        run.link = run.t.cleanup.enter_context(migd_fault_link.Link(run.port))

    def env(self, run, who):
        """What MIGD_FAULT has for one of run's WHO."""
        return run.asked(who)

    def listen(self, run):
        return run.command("target", "migrate-incoming", {"uri": f"tcp:127.0.0.1:{run.port}", "exit-on-error": False})

    def go(self, run):
        self.listen(run)
        run.command("source", "migrate", {"uri": run.link.uri})

    def is_over(self, run):
        return run.has_ended("source", "target")

    def meanwhile(self, run, pid):
        pass

    def look_through(self, run, before):
        return migd_fault_checks.look_through(run, before)


class CommitLost(Precopy):
    """The connection is lost before COMMIT: the source asks, and takes its guest back."""

    before = ("handover.released", "source")

    def meanwhile(self, run, pid):
        run.link.reset(refuse_for=0.2)


class LoadedLost(Precopy):
    """The connection is lost before LOADED: the source goes on, and tells the target that."""

    before = ("handover.loaded", "target")

    def meanwhile(self, run, pid):
        run.link.reset(refuse_for=0.2)


class Cancelled(Precopy):
    """A guest that is throttled by 99 % is not to migrate after all."""

    def prepare(self, run):
        super().prepare(run)
        src = run.vmms["source"]
        src.set_capabilities(auto_converge=True)
        src.set(throttle_trigger_threshold=1, cpu_throttle_initial=99, max_bandwidth=4 << 20, downtime_limit=1)

    def go(self, run):
        super().go(run)
        src = run.vmms["source"]
        with contextlib.suppress(QmpError, QmpClosed, OSError):
            with src.daemon.connect() as qmp:
                wait_until(lambda: qmp.command("query-migrate", {"guest": "g"}).get("cpu-throttle-percentage"), "it is throttled")
        run.command("source", "migrate_cancel")


class DaemonRestarts(Precopy):
    """The source's daemon is succeeded in mid-migration."""

    before = ("stream.pass-sent", "source")

    def meanwhile(self, run, pid):
        run.kill_daemon("source")
        run.succeed_daemon("source", env=run.env("source"), ready=False)


class DaemonSucceeds(DaemonRestarts):
    """It is the successor that gets to the point, and not who was there first."""

    def env(self, run, who):
        return None if who == "source" and "source" not in run.orphans else run.asked(who)

    def meanwhile(self, run, pid):
        """The VMM looks for its daemon now and then: the migration does not end before it has found the successor."""
        def is_there():
            log = run.daemons["source"].log_text()
            return len(run.stopped()) > 1 or f"fault point {run.point}," in log or log.count("guest attached") > 1

        super().meanwhile(run, pid)
        with contextlib.suppress(AssertionError):  # a fault may keep it away; the library's lease is 10 s
            wait_until(is_there, "the VMM is attached", 5 / SLOW)


SCENARIOS = {
    "precopy": Precopy(),
    "commit-lost": CommitLost(),
    "loaded-lost": LoadedLost(),
    "cancelled": Cancelled(),
    "daemon-restarts": DaemonRestarts(),
    "daemon-succeeds": DaemonSucceeds(),
}


def every(scenario, who, *points):
    return {point: [(scenario, who)] for point in points}


PLACES = {
    **every("precopy", "source", "qmp.migrate-taken", "qmp.migrate-unanswered", "qmp.status-told", "qmp.handover-told"),
    **every("precopy", "target", "qmp.incoming-taken", "qmp.incoming-unanswered"),
    **every("cancelled", "source", "qmp.cancel-taken"),

    "attach.channel-made": [("precopy", "source"), ("precopy", "target")],
    "attach.channel-taken": [("precopy", "source"), ("precopy", "target")],
    **every("precopy", "source", "attach.memory-taken", "attach.begun", "attach.dirty-logging", "attach.state-saved"),
    **every("precopy", "target", "attach.memory-taken-there", "attach.begun-there", "attach.state-loaded"),
    **every("daemon-succeeds", "source", "attach.hello-answered"),

    **every("precopy", "source-vmm", "library.opening", "library.memory-handed", "library.dirty-logging", "library.pausing",
           "library.paused", "library.state-saved", "library.releasing", "library.released", "library.retired"),
    **every("precopy", "target-vmm", "library.state-loaded", "library.loaded", "library.activating", "library.activated"),
    **every("cancelled", "source-vmm", "library.taking-back"),
    **every("loaded-lost", "target-vmm", "library.discarded"),
    **every("commit-lost", "source-vmm", "library.reclaimed"),

    "link.worker-spawned": [("precopy", "source"), ("precopy", "target")],
    "link.journal-written": [("precopy", "source"), ("precopy", "target")],
    "link.start-sent": [("precopy", "source"), ("precopy", "target")],
    "link.start-received": [("precopy", "source"), ("precopy", "target")],
    "link.state-received": [("precopy", "source"), ("precopy", "target")],
    "link.done-reporting": [("precopy", "source"), ("precopy", "target")],
    "link.done-received": [("precopy", "source"), ("precopy", "target")],
    "link.finished-received": [("precopy", "source"), ("precopy", "target")],
    **every("commit-lost", "source", "link.connect-asking", "link.connect-received"),
    **every("daemon-restarts", "source", "link.adopt-sending"),
    **every("daemon-succeeds", "source", "link.adopt-received"),

    **every("precopy", "source", "stream.opened", "stream.setup-sent", "stream.pass-sent", "stream.pass-arrived",
           "stream.last-pass-sent", "stream.state-sent", "stream.ended"),
    **every("precopy", "target", "stream.source-came", "stream.guest-fits", "stream.section-loaded", "stream.pass-received",
           "stream.last-pass-received", "stream.state-received", "stream.end-received"),

    **every("precopy", "source", "handover.paused", "handover.loaded-received", "handover.releasing", "handover.released",
           "handover.commit-sent", "handover.active-received", "handover.retired"),
    **every("precopy", "target", "handover.loaded", "handover.loaded-sent", "handover.commit-received", "handover.activated",
           "handover.active-sending", "handover.settled-received"),
    **every("commit-lost", "source", "handover.asked", "handover.not-active-received", "handover.reclaimed"),
    **every("commit-lost", "target", "handover.ask-decided", "handover.not-active-sending"),
    **every("loaded-lost", "source", "handover.abort-sending"),
    **every("loaded-lost", "target", "handover.abort-received"),
}

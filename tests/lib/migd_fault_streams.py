# SPDX-License-Identifier: Apache-2.0
"""Migrations of the fault matrix from host to host that are more than pre-copy: post-copy, a link that breaks, parallel channels."""

from migd_fault_scenarios import Precopy, every
from migd_process import wait_until

MIB = 1 << 20
FILLED = slice(32 * MIB, 40 * MIB)   # memory that the guest does not look at, and that takes a while
CUT = {"refuse_for": 0.2}


class Filled(Precopy):
    """There is something to be sent, and not at once."""

    capabilities = {}

    def prepare(self, run):
        super().prepare(run)
        run.vmms["source"].mem.map[FILLED] = b"x" * (FILLED.stop - FILLED.start)
        for vmm in run.vmms.values():
            vmm.set_capabilities(**self.capabilities)


class Postcopy(Filled):
    """The guest runs at the target for a second or two, and waits for its pages, before all of its memory is there."""

    capabilities = {"postcopy_ram": True}

    def prepare(self, run):
        super().prepare(run)
        # What the first second does not send comes after the switch.
        run.vmms["source"].set(max_bandwidth=2 * MIB, max_postcopy_bandwidth=6 * MIB)

    def go(self, run):
        super().go(run)
        wait_until(lambda: run.command("source", "migrate-start-postcopy") or self.is_over(run), "post-copy is to begin", 60,
                   every=0.05)


class PostcopyPreempt(Postcopy):
    """What is asked for has a connection of its own."""

    capabilities = {"postcopy_ram": True, "postcopy_preempt": True}


class PostcopyRecovery(Postcopy):
    """The link breaks after the switch, and both sides find each other again."""

    before = ("postcopy.switched", "source")

    def meanwhile(self, run, pid):
        run.link.reset(**CUT)


class Resume(Filled):
    """The link breaks while the guest runs at the source, and pre-copy goes on over another connection."""

    before = ("stream.setup-sent", "source")

    def prepare(self, run):
        super().prepare(run)
        run.vmms["source"].set(max_bandwidth=16 * MIB)

    def meanwhile(self, run, pid):
        run.link.reset(**CUT)


class Multifd(Filled):
    capabilities = {"multifd": True}


SCENARIOS = {
    "postcopy": Postcopy(),
    "preempt": PostcopyPreempt(),
    "recovery": PostcopyRecovery(),
    "resume": Resume(),
    "multifd": Multifd(),
}

PLACES = {
    **every("postcopy", "source", "postcopy.advised", "postcopy.missing-told", "postcopy.package-sent", "postcopy.run-sent",
            "postcopy.switched", "postcopy.page-asked", "postcopy.background-ended", "postcopy.end-sent"),
    **every("postcopy", "target", "postcopy.advice-received", "postcopy.missing-received", "postcopy.memory-registered",
            "postcopy.listening", "postcopy.package-loaded", "postcopy.started", "postcopy.page-wanted", "postcopy.page-shown",
            "postcopy.all-here", "postcopy.memory-let-go"),
    "postcopy.page-answered": [("postcopy", "source"), ("preempt", "source")],
    "postcopy.page-placed": [("postcopy", "target"), ("preempt", "target")],
    "postcopy.page-received": [("postcopy", "target"), ("preempt", "target")],
    **every("recovery", "source", "postcopy.paused", "postcopy.reconnected", "postcopy.recover-asked",
            "postcopy.bitmaps-received", "postcopy.resume-sent", "postcopy.resumed"),
    **every("recovery", "target", "postcopy.paused-there", "postcopy.source-is-back", "postcopy.recover-received",
            "postcopy.bitmap-sending", "postcopy.resume-received"),

    **every("resume", "source", "resume.lost", "resume.asked", "resume.agreed", "resume.begun-anew"),
    **every("resume", "target", "resume.lost-there", "resume.answering", "resume.answered"),

    **every("multifd", "source", "multifd.channel-connected", "multifd.pages-sent", "multifd.sync-sent"),
    **every("multifd", "target", "multifd.channel-accepted", "multifd.sync-received", "multifd.synced"),
}

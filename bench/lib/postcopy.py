# SPDX-License-Identifier: Apache-2.0
"""Post-copy: how long the guest stands still at the switch and after it, what a page costs it, how fast the rest comes."""
from lib import guest, limits, memory, pair, watch
from lib.base import GB, MIB, Scenario, is_absent

CAPABILITIES = {"plain": ("postcopy-ram",), "preempt": ("postcopy-ram", "postcopy-preempt")}
SPARE = 64 * MIB  # of the guest's memory is not in its working set
US = 1e6
NS_PER_US = 1e3


def by_method(samples):
    """{method: sample} as one sample of {metric: {method: number}}."""
    first, *_ = samples.values()
    return {
        **{metric: {method: sample[metric] for method, sample in samples.items()} for metric in first},
        "others": max(sample["others"] for sample in samples.values()),
        "is_noisy": any(sample["is_noisy"] for sample in samples.values()),
    }


def reported_latency(info):
    """{metric: us} of how long pages took by the target's query-migrate; QEMU 10.0 does not say."""
    told = info.get("postcopy", {}).get("fault-latency", {})
    return {f"{what}_us": told[what] / NS_PER_US for what in ("p50", "p99") if what in told}


def percentile(ordered, percent):
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] if ordered else None


class Postcopy(Scenario):
    """
    A guest that dirties most of its memory as fast as it goes, switched after some whole passes. Ours has a channel for
    urgent pages; the peer is measured with one and without, and the better counts.
    """
    sides = ("ours", "peer")
    guest = "dirty"

    def __init__(self, context, after_passes, bandwidth=0):
        super().__init__(context)
        self.after_passes = after_passes
        self.parameters = {"max-postcopy-bandwidth": bandwidth}
        self.working_set = context.sizes.loaded - SPARE

    def prepare(self):
        memory.random_file(self.contents, self.context.sizes.loaded)

    def ours(self):
        return self.migrated(self._migd, CAPABILITIES["preempt"])

    def peer(self):
        return by_method({method: self.migrated(self._qemu, names) for method, names in CAPABILITIES.items()})

    def migrated(self, new_pair, capabilities):
        with self.started(new_pair, self.context.sizes.loaded, working_set=self.working_set, guest=self.guest,
                          capabilities=capabilities, parameters=self.parameters) as p:
            return self.sample(p)

    def sample(self, p):
        outcome, _, seen = self.watched(p, postcopy_after=self.after_passes)
        blackout, absent = watch.switch_gap(seen)
        stall, stall_absent = watch.longest_gap_after_switch(seen)
        ram = outcome.infos[0]["ram"]
        return {
            "blackout_ms": blackout,
            "absent_ms": absent,
            "downtime_ms": outcome.downtime_ms,
            "downtime_error_ms": abs(outcome.downtime_ms - blackout),
            "stall_ms": stall,
            "stall_absent_ms": stall_absent,
            **reported_latency(outcome.infos[1]),
            "requests": ram["postcopy-requests"],
            "postcopy_mib": ram["postcopy-bytes"] / MIB,
            "passes": outcome.passes,
            "seconds": outcome.seconds,
            "others": outcome.others,
            "is_noisy": is_absent(blackout, absent) or is_absent(stall, stall_absent),
        }


class Random(Postcopy):
    """
    A guest that nobody can foresee, and that times its own accesses. Those that asked for a page are the longest ones, as
    many as the source was asked for.
    """
    sides = ("ours", "peer", "limit")
    guest = "random"

    def __init__(self, context):
        super().__init__(context, after_passes=0)

    def sample(self, p):
        pair.wait_heartbeat(p.source_ram)
        clock_hz = guest.clock_hz(p.source_ram)
        out = super().sample(p)
        counts = [guest.tick_counts(ram) for ram in (p.source_ram, p.spec.target_ram)]
        if not any(counts[0]) or not out["requests"]:
            raise pair.MigrationError("nothing to compare: the source has lost its counts, or was asked for no page")
        accesses = guest.longest_accesses(*counts, out["requests"])
        return {
            **out,
            "guest_p50_us": percentile(accesses, 50) / clock_hz * US,
            "guest_p99_us": percentile(accesses, 99) / clock_hz * US,
        }

    def limit(self):
        result = limits.fault(self.context.programs["limits"])
        return {metric: result[metric.removeprefix("guest_")]
                for metric in ("p50_us", "p99_us", "guest_p50_us", "guest_p99_us")}


class Stream(Scenario):
    """
    An idle guest of incompressible memory, copied before it is switched and, in another migration, afterwards: how fast
    the latter is.
    """

    def prepare(self):
        memory.random_file(self.contents, self.context.sizes.idle)

    def migrated(self, new_pair):
        size = self.context.sizes.idle
        precopy, *_ = self.one(new_pair, size)
        with self.started(new_pair, size, capabilities=CAPABILITIES["plain"]) as p:
            postcopy, _ = pair.migrate(p, self.context.n_cpus, postcopy_after=0)
            self.check_contents(p)
            _, switched = p.source.first_status(("postcopy-active",))
        stream = postcopy.infos[0]["ram"]["postcopy-bytes"] / (postcopy.ended - switched) / GB
        before = size / precopy.seconds / GB
        return {"gbps": stream, "gbps_precopy": before, "ratio": stream / before,
                "others": max(precopy.others, postcopy.others)}

    def limit(self):
        results = limits.transfer(self.context.programs["limits"], self.contents)
        return {"gbps": limits.by_method(results, "gbps")}

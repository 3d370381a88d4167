# SPDX-License-Identifier: Apache-2.0
"""What is run: each scenario by its name."""
import os
import shutil

from lib import control, credentials, disk, host, limits, memory, pair, postcopy, snapshot, start
from lib.base import GB, GBIT_S, GIB, Scenario, is_absent


def multifd(channels, **parameters):
    """Of pair.Spec."""
    return {"capabilities": ("multifd",), "parameters": {"multifd-channels": channels, **parameters}}


class Idle(Scenario):
    """An idle guest of incompressible memory."""
    connections = 1

    def prepare(self):
        memory.random_file(self.contents, self.context.sizes.idle)

    def spec(self):
        return multifd(self.connections) if self.connections > 1 else {}

    def migrated(self, new_pair):
        size = self.context.sizes.idle
        outcome, *_ = self.one(new_pair, size, **self.spec())
        return {
            "gbps": size / outcome.seconds / GB,
            "cpu_s_per_gib": outcome.cpu_s / (size / GIB),
            "worker_mib": outcome.worker_mib,
            "daemon_mib": outcome.daemon_mib,
            "others": outcome.others,
        }

    def limit(self):
        results = limits.transfer(self.context.programs["limits"], self.contents, self.connections)
        return {
            "gbps": limits.by_method(results, "gbps"),
            "cpu_s_per_gib": limits.by_method(results, "cpu_s_per_gib"),
            "all": results,
        }


class Multifd(Idle):
    """The same over two multifd channels."""
    connections = 2


class Tls(Idle):
    """The same under TLS, AES-128-GCM. The limit: each byte is copied as in the raw transfer, and goes once through the cipher."""

    def __init__(self, context, connections):
        super().__init__(context)
        self.connections = connections
        self.credentials = context.path("credentials")

    def prepare(self):
        super().prepare()
        credentials.make(self.credentials)

    def clean(self):
        super().clean()
        shutil.rmtree(self.credentials, ignore_errors=True)

    def spec(self):
        spec = super().spec()
        return {**spec, "objects": credentials.objects(self.credentials),
                "parameters": {**spec.get("parameters", {}), "tls-creds": credentials.OBJECT}}

    def limit(self):
        results = limits.transfer(self.context.programs["limits"], self.contents, self.connections)
        cipher = limits.cipher_gbps()
        return {
            "gbps": {method: limits.one_after_the_other(cipher, gbps)
                     for method, gbps in limits.by_method(results, "gbps").items()},
            "cipher_gbps": cipher,
            "all": results,
        }


class Zstd(Scenario):
    """Compressible memory at 1 Gbit/s, with zstd at level 1 and without."""
    sides = ("ours", "peer")

    def prepare(self):
        memory.text_file(self.contents, self.context.sizes.loaded)

    def migrated(self, new_pair):
        size = self.context.sizes.loaded
        plain, *_ = self.one(new_pair, size, bandwidth=GBIT_S, **multifd(2))
        zstd, *_ = self.one(new_pair, size, bandwidth=GBIT_S,
                            **multifd(2, **{"multifd-compression": "zstd", "multifd-zstd-level": 1}))
        return {"gbps": size / zstd.seconds / GB, "gbps_none": size / plain.seconds / GB,
                "speedup": plain.seconds / zstd.seconds, "others": max(plain.others, zstd.others)}


class Mapped(Scenario):
    """An idle guest of incompressible memory to a mapped-ram file on a disk, by two channels, and from it into fresh memory."""

    def __init__(self, context, direct):
        super().__init__(context)
        self.direct = direct
        self.file = os.path.join(context.disk, "guest.mapped")

    def prepare(self):
        memory.random_file(self.contents, self.context.sizes.saved)

    def migrated(self, new_pair):
        size = self.context.sizes.saved
        spec = multifd(2, **{"direct-io": self.direct})
        spec["capabilities"] += ("mapped-ram",)
        try:
            with self.started(new_pair, size, **spec) as p:
                saved = pair.save(p, self.file, self.context.n_cpus)
                loaded = pair.load(p, self.file, self.context.n_cpus)
                self.check_contents(p)
        finally:
            self._remove()
        return {"save_gbps": size / saved.seconds / GB, "load_gbps": size / loaded.seconds / GB,
                "save_cpu_s_per_gib": saved.cpu_s / (size / GIB), "load_cpu_s_per_gib": loaded.cpu_s / (size / GIB),
                # The kernel's own threads do the writing back: what others took cannot be told from that.
                "kernel_and_others": max(saved.others, loaded.others)}

    def limit(self):
        save, load = {}, {}
        try:
            for direct in (False, True):
                method = "direct" if direct else "buffered"
                save[method] = disk.write_rate(self.contents, self.file, direct)
                load[method] = disk.read_rate(self.file, direct)
                self._remove()
        finally:
            self._remove()
        return {"save_gbps": save, "load_gbps": load}

    def _remove(self):
        if os.path.exists(self.file):
            os.unlink(self.file)


class Zero(Scenario):
    """An idle guest that has zeroed all of its memory."""

    def prepare(self):
        memory.zero_file(self.contents, self.context.sizes.idle)

    def migrated(self, new_pair):
        size = self.context.sizes.idle
        outcome, *_ = self.one(new_pair, size)
        return {"gbps": size / outcome.seconds / GB, "others": outcome.others}

    def limit(self):
        result = limits.zero_scan(self.context.programs["limits"], self.contents)
        return {"gbps": {result["method"]: result["gbps"]}}


class Sparse(Scenario):
    """
    A large guest of which little is in use, against a small one that uses as much. No peer: QEMU allocates all of the
    large guest's memory on the source.
    """
    sides = ("ours", "limit")

    def prepare(self):
        pass

    def _large(self):
        memory.scattered_file(self.contents, self.context.sizes.sparse, self.context.sizes.used)

    def _small(self):
        memory.random_file(self.contents, self.context.sizes.used)

    def migrated(self, new_pair):
        self._small()
        small, *_ = self.one(new_pair, self.context.sizes.used)
        self._large()
        large, before, after, _ = self.one(new_pair, self.context.sizes.sparse)
        return {
            "seconds": large.seconds,
            "seconds_small": small.seconds,
            "ratio": large.seconds / small.seconds,
            "allocated_ratio": after / before,
            "others": max(small.others, large.others),
        }

    def limit(self):
        self._small()
        results = limits.transfer(self.context.programs["limits"], self.contents)
        return {"seconds": {m: self.context.sizes.used / GB / gbps
                            for m, gbps in limits.by_method(results, "gbps").items()}}


class Blackout(Scenario):
    """A guest that dirties its working set as fast as it goes."""
    sides = ("ours", "peer")

    def __init__(self, context, working_set, downtime_limit_ms):
        super().__init__(context)
        self.working_set = min(working_set, context.sizes.loaded // 2)
        self.downtime_limit_ms = downtime_limit_ms

    def prepare(self):
        memory.random_file(self.contents, self.context.sizes.loaded)

    def migrated(self, new_pair):
        outcome, _, _, gap = self.one(new_pair, self.context.sizes.loaded, watched=True, working_set=self.working_set,
                                      downtime_limit_ms=self.downtime_limit_ms)
        length, absent = gap
        return {
            "blackout_ms": length,
            "absent_ms": absent,
            "downtime_ms": outcome.downtime_ms,
            "passes": outcome.passes,
            "seconds": outcome.seconds,
            "others": outcome.others,
            "is_noisy": is_absent(length, absent),
        }


class Kernels(Scenario):
    """No guest: the loops over every byte of memory, each version that this CPU has."""
    sides = ("ours",)

    def prepare(self):
        pass

    def ours(self):
        return limits.kernels(self.context.programs["kernels"])


def _blackout(mib, limit_ms=300):
    return lambda context: Blackout(context, mib << 20, limit_ms)


SCENARIOS = {
    "idle": Idle,
    "multifd2": Multifd,
    "tls1": lambda context: Tls(context, 1),
    "tls2": lambda context: Tls(context, 2),
    "zstd": Zstd,
    "mapped": lambda context: Mapped(context, direct=False),
    "mapped-dio": lambda context: Mapped(context, direct=True),
    "zero": Zero,
    "sparse": Sparse,
    "blackout-1m": _blackout(1),
    "blackout-16m": _blackout(16),
    "blackout-128m": _blackout(128),
    "blackout-16m-50ms": _blackout(16, 50),
    "blackout-128m-50ms": _blackout(128, 50),
    "postcopy": lambda context: postcopy.Postcopy(context, after_passes=0),
    "postcopy-pass1": lambda context: postcopy.Postcopy(context, after_passes=1),
    "postcopy-125m": lambda context: postcopy.Postcopy(context, after_passes=0, bandwidth=GBIT_S),
    "postcopy-random": postcopy.Random,
    "postcopy-stream": postcopy.Stream,
    "background-snapshot": snapshot.Snapshot,
    "kernels": Kernels,
    "guests": host.Guests,
    "fifty": host.Fifty,
    "qmp-rate": control.Rate,
    "qmp-clients": control.Clients,
    "start": start.Start,
    "start-100-guests": start.StartWithGuests,
}

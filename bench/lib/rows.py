# SPDX-License-Identifier: Apache-2.0
"""The benchmark's rows, as a table: what each is called, where its numbers come from, what it is to reach."""
from typing import Callable, NamedTuple, Optional


class Target(NamedTuple):
    text: str
    met: Callable[[dict], Optional[bool]]  # of a row's JSON; None: a number it needs is missing


class Row(NamedTuple):
    name: str
    unit: str
    better: str  # "higher" | "lower"
    scenario: str  # in scenarios.py
    metric: str  # of the scenario's samples
    targets: tuple = ()


def times(factor, side):
    """At least FACTOR of that side (better "higher"), at most FACTOR of it (better "lower")."""
    def met(r):
        if r["ours"] is None or r[side] is None:
            return None
        return r["ours"] >= factor * r[side] if r["better"] == "higher" else r["ours"] <= factor * r[side]
    return Target(f"{factor:g}x {side}", met)


def at_most(most, text=None):
    def met(r):
        return None if r["ours"] is None else r["ours"] <= most
    return Target(text or f"<= {most:g}", met)


def at_least(least):
    def met(r):
        return None if r["ours"] is None else r["ours"] > least
    return Target(f"> {least:g}", met)


GIB4_PAGES = (4 << 30) // 4096
KERNELS = ("scalar", "sse2", "avx2", "avx512bw")
WORKER_MIB = 16 + 3 * GIB4_PAGES / 8 / (1 << 20)

ROWS = (
    Row("idle-tcp", "GB/s", "higher", "idle", "gbps", (times(0.85, "limit"), times(1.6, "peer"))),
    Row("cpu-per-gib-tcp", "s/GiB", "lower", "idle", "cpu_s_per_gib", (times(0.65, "peer"),)),
    Row("multifd2-tcp", "GB/s", "higher", "multifd2", "gbps", (times(0.9, "limit"), times(1.4, "peer"))),
    Row("tls1", "GB/s", "higher", "tls1", "gbps", (times(0.7, "limit"), times(2.5, "peer"))),
    Row("tls2", "GB/s", "higher", "tls2", "gbps", (times(0.7, "limit"), times(2.5, "peer"))),
    Row("cpu-per-gib-tls", "s/GiB", "lower", "tls1", "cpu_s_per_gib", (times(0.5, "peer"),)),
    Row("zstd-1g", "x", "higher", "zstd", "speedup", (at_least(1),)),
    Row("mapped-save", "GB/s", "higher", "mapped", "save_gbps", (times(0.9, "limit"), times(1, "peer"))),
    Row("mapped-load", "GB/s", "higher", "mapped", "load_gbps", (times(0.9, "limit"), times(1, "peer"))),
    Row("mapped-save-dio", "GB/s", "higher", "mapped-dio", "save_gbps", (times(0.9, "limit"), times(1, "peer"))),
    Row("mapped-load-dio", "GB/s", "higher", "mapped-dio", "load_gbps", (times(0.9, "limit"), times(1, "peer"))),
    Row("zero-tcp", "GB/s", "higher", "zero", "gbps", (times(1.5, "peer"),)),
    Row("sparse-64g", "s", "lower", "sparse", "seconds"),
    Row("sparse-64g-ratio", "x", "lower", "sparse", "ratio", (at_most(2),)),
    Row("sparse-64g-allocated", "x", "lower", "sparse", "allocated_ratio", (at_most(1),)),
    Row("blackout-1m", "ms", "lower", "blackout-1m", "blackout_ms", (at_most(10),)),
    Row("blackout-16m", "ms", "lower", "blackout-16m", "blackout_ms", (times(0.5, "peer"),)),
    Row("blackout-128m", "ms", "lower", "blackout-128m", "blackout_ms", (times(0.5, "peer"),)),
    Row("blackout-16m-50ms", "ms", "lower", "blackout-16m-50ms", "blackout_ms", (times(0.5, "peer"),)),
    Row("blackout-128m-50ms", "ms", "lower", "blackout-128m-50ms", "blackout_ms", (times(0.5, "peer"),)),
    Row("postcopy-blackout", "ms", "lower", "postcopy", "blackout_ms", (at_most(4),)),
    Row("postcopy-blackout-pass1", "ms", "lower", "postcopy-pass1", "blackout_ms", (at_most(8),)),
    Row("postcopy-downtime-error", "ms", "lower", "postcopy", "downtime_error_ms", (at_most(1),)),
    Row("fault-p50", "us", "lower", "postcopy-random", "p50_us", (times(2, "limit"),)),
    Row("fault-p99", "us", "lower", "postcopy-random", "p99_us", (times(10, "limit"),)),
    Row("fault-guest-p50", "us", "lower", "postcopy-random", "guest_p50_us", (times(2, "limit"), times(1, "peer"))),
    Row("fault-guest-p99", "us", "lower", "postcopy-random", "guest_p99_us", (times(10, "limit"), times(1, "peer"))),
    Row("stall-full", "ms", "lower", "postcopy", "stall_ms", (times(1, "peer"),)),
    Row("stall-125m", "ms", "lower", "postcopy-125m", "stall_ms", (times(1, "peer"),)),
    Row("postcopy-stream", "GB/s", "higher", "postcopy-stream", "gbps"),
    Row("postcopy-stream-ratio", "x", "higher", "postcopy-stream", "ratio", (at_least(0.8),)),
    Row("bgsnap-slowdown", "x", "lower", "background-snapshot", "slowdown", (times(1, "peer"),)),
    Row("worker-rss", "MiB", "lower", "idle", "worker_mib", (at_most(WORKER_MIB, "<= 16 MiB + 3 bits/page"),)),
    Row("daemon-rss", "MiB", "lower", "idle", "daemon_mib", (at_most(4),)),
    Row("guests", "guests", "higher", "guests", "guests", (at_least(499),)),
    Row("guests-p99", "ms", "lower", "guests", "p99_ms", (at_most(5),)),
    Row("daemon-idle-cpu", "s", "lower", "guests", "idle_cpu_s", (at_most(0),)),
    Row("qmp-p99-50-migrations", "ms", "lower", "fifty", "p99_ms", (at_most(5),)),
    Row("qmp-rate", "commands/s", "higher", "qmp-rate", "commands_per_s", (at_least(20000), times(5, "peer"))),
    Row("qmp-clients", "clients", "higher", "qmp-clients", "served", (at_least(999),)),
    Row("qmp-clients-p99", "ms", "lower", "qmp-clients", "answer_p99_ms", (at_most(100),)),
    Row("start-ms", "ms", "lower", "start", "ready_ms", (at_most(50),)),
    Row("start-100-guests-ms", "ms", "lower", "start-100-guests", "ready_ms", (at_most(50),)),
    *(Row(f"kernel-zero-{k}", "GB/s", "higher", "kernels", f"zero-{k}") for k in KERNELS),
    *(Row(f"kernel-xbzrle-{k}", "GB/s", "higher", "kernels", f"xbzrle-{k}") for k in (*KERNELS, "decode")),
)


def select(names):
    """The rows of these names, in the table's order; ValueError names one that does not exist."""
    known = {row.name for row in ROWS}
    unknown = [n for n in names if n not in known]
    if unknown:
        raise ValueError(f"no row '{unknown[0]}'; there are: {', '.join(row.name for row in ROWS)}")
    return tuple(row for row in ROWS if not names or row.name in names)

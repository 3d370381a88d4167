#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""The migrations of a host share its max-bandwidth: by priority, all of it, and never more."""

import os
import signal
import time

import migdtest
from migd_process import wait_until

MIB = 1 << 20
BUDGET = 14 * MIB

# What a second may have more than its budget: the batch that a worker was in the middle of, and a window's edge.
OVER = 1.25


class Host:
    """A daemon whose guests have memory for minutes of a slow migration, and one that they go to."""

    def __init__(self, t, names, budget=BUDGET):
        self.t = t
        self.a, self.b = t.daemon("a"), t.daemon("b")
        options = {"memory": "192M", "working_set": "64K"}
        self.pairs = [(t.vmm(self.a, name=n, **options), t.incoming(self.b, options, name=n)) for n in names]
        for src, _ in self.pairs:
            t.assert_runs(src)
            t.fill(src, length=144 * MIB)
            src.set(max_bandwidth=0)
        self.set(max_bandwidth=budget)

    def set(self, **parameters):
        self.a.qmp.command("host-set-parameters", {k.replace("_", "-"): v for k, v in parameters.items()})

    def start(self, src, dst, priority=0):
        src.command("migrate", {"uri": self.t.listen(dst), "priority": priority})

    def sources(self):
        return [src for src, _ in self.pairs]

    def sent(self):
        """Bytes sent by each, and when that was."""
        return [s.migration()["ram"]["transferred"] for s in self.sources()], time.monotonic()

    def rates(self, seconds=3.0):
        """Bytes a second of each."""
        first, since = self.sent()
        time.sleep(seconds)
        last, until = self.sent()
        return [(b - a) / (until - since) for a, b in zip(first, last)]

    def shares(self):
        return [s.migration().get("host-share") for s in self.sources()]

    def wait_shares(self, expected, what):
        def there():
            now = self.shares()
            return all(s is not None and abs(s - e) <= e / 10 for s, e in zip(now, expected))
        try:
            wait_until(there, what, timeout=10)
        except AssertionError:
            raise AssertionError(f"{what}: the shares are {self.shares()}, not {expected}") from None

    def cancel(self):
        for src in self.sources():
            src.command("migrate_cancel")
        for src, _ in self.pairs:
            self.t.check(self.t.wait_end(src)["status"] == "cancelled", f"{src.name}: {src.migration()}")
            self.t.assert_untouched(src)


def near(t, rates, expected, what, tolerance=0.2):
    """The rates are to each other as expected, not above, and not far below on a machine that has other things to do."""
    text = f"{what}: the rates are {[round(r / MIB, 2) for r in rates]} MiB/s, not {[round(e / MIB, 2) for e in expected]}"
    scale = sum(rates) / sum(expected)
    t.check(0.7 <= scale <= OVER, text)
    t.check(all(abs(r - e * scale) <= e * scale * tolerance for r, e in zip(rates, expected)), text)


def test_by_priority(t):
    host = Host(t, ("one", "two", "three"))
    one, two, three = host.sources()
    for (src, dst), priority in zip(host.pairs, (2, 1, 0)):
        host.start(src, dst, priority)
    for src in host.sources():
        t.wait_active(src)
    weighted = [BUDGET * 4 / 7, BUDGET * 2 / 7, BUDGET / 7]
    host.wait_shares(weighted, "shares by priority")
    for _ in range(3):
        rates = host.rates(1)
        t.check(sum(rates) <= BUDGET * OVER, f"{sum(rates) / MIB} MiB/s are more than {BUDGET / MIB}")
    near(t, host.rates(), weighted, "by priority")
    # Another order, at once; and a limit of one's own leaves more for the others.
    one.command("migrate-set-priority", {"priority": 0})
    host.wait_shares([BUDGET / 4, BUDGET / 2, BUDGET / 4], "another priority")
    t.check(one.migration()["priority"] == 0, f"{one.migration()}")
    two.set(max_bandwidth=2 * MIB)
    host.wait_shares([BUDGET / 2 - MIB, 2 * MIB, BUDGET / 2 - MIB], "one has a lower limit of its own")
    near(t, host.rates(), [BUDGET / 2 - MIB, 2 * MIB, BUDGET / 2 - MIB], "one has a lower limit of its own")
    # A change of the budget, and of who shares it.
    host.set(max_bandwidth=BUDGET // 2)
    host.wait_shares([BUDGET / 4 - MIB, 2 * MIB, BUDGET / 4 - MIB], "half the budget")
    near(t, host.rates(2), [BUDGET / 4 - MIB, 2 * MIB, BUDGET / 4 - MIB], "half the budget")
    three.command("migrate_cancel")
    t.wait_end(three)
    wait_until(lambda: one.migration()["host-share"] > 0.9 * (BUDGET // 2 - 2 * MIB), "one takes what another leaves")
    host.set(max_bandwidth=0)
    t.check("host-share" not in one.migration(), f"{one.migration()}")
    wait_until(lambda: t.wait_end(one)["status"] == "completed", "without limits it completes")
    two.set(max_bandwidth=0)
    t.check(t.wait_end(two)["status"] == "completed", f"{two.migration()}")


def test_what_one_does_not_use(t):
    """A migration whose peer does not read needs no share; it has it again as soon as it does."""
    host = Host(t, ("one", "two"))
    (one, one_dst), (two, two_dst) = host.pairs
    host.start(one, one_dst)
    worker = one_dst.worker()
    host.start(two, two_dst)
    for src in host.sources():
        t.wait_active(src)
    host.wait_shares([BUDGET / 2, BUDGET / 2], "halves")
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_until(lambda: (host.shares()[1] or 0) > 0.85 * BUDGET, "what one does not use is the other's", timeout=20)
        rates = host.rates(2)
        t.check(rates[1] > 0.75 * BUDGET, f"{rates}")
        t.check(host.shares()[0] >= BUDGET // 2 // 8, f"an eighth stays: {host.shares()}")
    finally:
        os.kill(worker, signal.SIGCONT)
    host.wait_shares([BUDGET / 2, BUDGET / 2], "it has its part again")
    near(t, host.rates(2), [BUDGET / 2, BUDGET / 2], "halves again")
    host.cancel()


def test_newcomers_are_within_it_from_the_first_byte(t):
    host = Host(t, ("one", "two", "three"), budget=6 * MIB)
    first, since = 0, time.monotonic()
    for src, dst in host.pairs:
        host.start(src, dst)
        t.wait_active(src)
        time.sleep(0.5)
        sent = sum(s.migration().get("ram", {}).get("transferred", 0) for s in host.sources())
        allowed = 6 * MIB * (time.monotonic() - since) * OVER + MIB
        t.check(sent - first <= allowed, f"{sent} bytes in {time.monotonic() - since} s, {allowed} allowed")
    host.wait_shares([2 * MIB] * 3, "thirds")
    host.cancel()


def test_parallel_channels(t):
    """However many connections a migration has: it has one share."""
    host = Host(t, ("one", "two"))
    for vmm in host.pairs[0]:
        vmm.command("migrate-set-capabilities", {"capabilities": [{"capability": "multifd", "state": True}]})
        vmm.set(multifd_channels=4)
    for src, dst in host.pairs:
        host.start(src, dst)
        t.wait_active(src)
    host.wait_shares([BUDGET / 2] * 2, "halves")
    near(t, host.rates(), [BUDGET / 2] * 2, "four channels and one")
    t.check(host.sources()[0].migration()["ram"]["multifd-bytes"] > MIB, "the channels were used")
    host.cancel()


def test_the_blackout_has_no_limit(t):
    """What is left when the guest is stopped would take seconds at the budget."""
    src, dst = t.pair(memory="128M", working_set="16M")
    t.assert_memory_verified(src, rounds=src.mem.detail(1))
    src.set(max_bandwidth=0, downtime_limit=20000)
    src.daemon.qmp.command("host-set-parameters", {"max-bandwidth": 6 * MIB})
    t.start(src, dst)
    info = t.wait_end(src)
    left = info["ram"]["downtime-bytes"]
    t.check(info["status"] == "completed" and left > 8 * MIB, f"much was left: {info}")
    t.check(info["downtime"] < 1000 * left / (6 * MIB) / 2, f"{left} bytes took {info['downtime']} ms")


def test_restart(t):
    """Workers keep their share while there is no daemon, and the next one goes on with the budget."""
    host = Host(t, ("one", "two"))
    for (src, dst), priority in zip(host.pairs, (1, 0)):
        host.start(src, dst, priority)
        t.wait_active(src)
    weighted = [BUDGET * 2 / 3, BUDGET / 3]
    host.wait_shares(weighted, "by priority")
    before, since = host.sent()
    host.a.kill(signal.SIGTERM)
    time.sleep(1)
    host.a = t.daemon("a")
    for src in host.sources():
        src.daemon = host.a
        src.wait_attached()
    wait_until(lambda: all(s.migration().get("ram") for s in host.sources()), "the workers are taken over")
    after, until = host.sent()
    near(t, [(b - a) / (until - since) for a, b in zip(before, after)], weighted, "while there was no daemon", 0.25)
    host.wait_shares(weighted, "the priorities are known")
    host.sources()[1].command("migrate-set-priority", {"priority": 1})
    host.wait_shares([BUDGET / 2] * 2, "and can be changed")
    near(t, host.rates(2), [BUDGET / 2] * 2, "after the restart")
    host.cancel()


def test_priorities_are_checked(t):
    src, dst = t.pair()
    uri = t.listen(dst)
    for wrong in -9, 9, 1 << 40, "high", 1.5:
        t.assert_refused(src, "migrate", {"uri": uri, "priority": wrong}, "priority")
        t.assert_refused(src, "migrate-set-priority", {"priority": wrong}, "priority")
    t.assert_refused(src, "migrate-set-priority", {"priority": 1}, "no migration of guest 'g'")
    t.assert_refused(dst, "migrate-set-priority", {"priority": 1}, "no migration of guest 'g'")
    t.check(src.status() in (None, "none"), f"nothing began: {src.migration()}")


migdtest.main()

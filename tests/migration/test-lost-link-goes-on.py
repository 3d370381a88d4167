#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""
The connection breaks while the guest runs at the source: the migration goes on over another one, and nothing of the guest's
memory is stale, wherever it broke.
"""

import migd_tls
import migdtest
from migd_process import wait_until

MIB = 1 << 20


def reconnects(vmm):
    return vmm.migration().get("reconnects", 0)


def never_end(t, src):
    """Pass follows pass, since the guest writes (in a pass of some 0.8 s at least once) and its rest would take too long."""
    t.assert_memory_verified(src)
    src.set(max_bandwidth=20 * MIB, downtime_limit=1, avail_switchover_bandwidth=1)


def through(t, src, dst, cuts, **options):
    """Migrate over a link that breaks at these (direction, bytes), in as many passes as it takes."""
    port = int(t.listen(dst).rpartition(":")[2])
    link = t.proxy(port, cuts=cuts, **options)
    never_end(t, src)
    src.daemon.qmp.skip_events()
    src.command("migrate", {"uri": link.uri})
    for n in range(1, len(cuts) + 1):
        wait_until(lambda n=n: reconnects(src) >= n, f"it goes on after cut {n} of {cuts}", alive=[src.daemon])
        ram = src.migration()["ram"]
        print(f"cut {n}: pass {ram['dirty-sync-count']}, {ram['transferred']} bytes", flush=True)
    src.set(max_bandwidth=0, downtime_limit=1000, avail_switchover_bandwidth=0)
    info = t.wait_end(src)
    t.check(info["status"] == "completed", f"it completes: {info}")
    return info, link


def check_arrived(t, src, dst):
    t.check(t.wait_end(dst)["status"] == "completed", f"the destination, too: {dst.migration()}")
    t.assert_only_runs(dst, src)
    t.assert_memory_verified(dst, rounds=2 * dst.mem.detail(1))


def random_cuts(random, *ranges):
    return [("out", random.randrange(*r)) for r in ranges]


def test_in_any_pass(t):
    """Several cuts, with data in flight: in the first pass, in the second, later."""
    random = migdtest.seed()
    src, dst = t.pair(memory="48M", working_set="16M")
    cuts = random_cuts(random, (64 << 10, 8 * MIB), (20 * MIB, 26 * MIB), (30 * MIB, 40 * MIB), (48 * MIB, 60 * MIB))
    info, link = through(t, src, dst, cuts)
    t.check(info["reconnects"] == len(cuts) == link.n_cuts, f"each was replaced: {info}")
    t.check(dst.migration()["reconnects"] == len(cuts), f"at the destination, too: {dst.migration()}")
    events = [e for e in src.daemon.qmp.poll_events() if e.name == "MIGRATION_RECONNECT"]
    t.check(len(events) >= len(cuts), f"events tell: {events}")
    t.check(all(e.data["attempt"] >= 1 and e.data["error"] for e in events), f"and why: {events}")
    check_arrived(t, src, dst)


def test_at_the_very_start(t):
    """Before, in and behind the sections that begin it all; what is cut there begins anew."""
    random = migdtest.seed()
    src, dst = t.pair(memory="32M", working_set="1M")
    last = None
    for name in "reply-config-ok", "start-ram", "ram-record":
        port = int(t.listen(dst).rpartition(":")[2])
        done = []

        def rule(_direction, seen, _count, name=name, done=done):
            if seen != name or done:
                return None
            done.append(seen)
            return "cut"

        link = t.proxy(port, rule=rule)
        link.refuse_after_cut = False
        src.command("migrate", {"uri": link.uri})
        info = t.wait_end(src)
        t.check(done, f"{name} came")
        print(f"cut behind {name}: {info['status']} after {info.get('reconnects', 0)} reconnects", flush=True)
        if info["status"] == "completed":
            check_arrived(t, src, dst)
            src.wait_exit()
            src, dst = dst, t.incoming(src.daemon, t.options, name=f"g{random.randrange(10 ** 6)}")
        else:
            t.check(name == "reply-config-ok", f"{name}: from the first section on it goes on: {info}")
            t.assert_only_runs(src, dst)
            dst.kill()
            dst = t.incoming(t.b, t.options)
        last = info
    t.check(last["status"] == "completed", f"in the middle of memory it goes on: {last}")


def test_answers_lost(t):
    """What breaks is the way back: pages arrive, and their acknowledgements do not."""
    random = migdtest.seed()
    src, dst = t.pair(memory="48M", working_set="16M")
    port = int(t.listen(dst).rpartition(":")[2])
    pongs = [2, random.randrange(4, 6)]
    print("cut before PONG", pongs)
    n_pongs = []

    def rule(_direction, name, _count):
        if name != "reply-pong":
            return None
        n_pongs.append(name)
        return "cut-before" if len(n_pongs) in pongs else None

    link = t.proxy(port, rule=rule)
    link.refuse_after_cut = False
    never_end(t, src)
    src.command("migrate", {"uri": link.uri})
    wait_until(lambda: reconnects(src) == 2, "it goes on twice", alive=[src.daemon])
    src.set(max_bandwidth=0, downtime_limit=1000, avail_switchover_bandwidth=0)
    t.check(t.wait_end(src)["status"] == "completed", "it completes")
    check_arrived(t, src, dst)


def test_no_way_for_a_while(t):
    random = migdtest.seed()
    src, dst = t.pair(memory="48M", working_set="16M")
    info, link = through(t, src, dst, random_cuts(random, (MIB, 12 * MIB)), refuse_for=1)
    t.check(len(link.clients) > 2, f"it was tried again: {len(link.clients)} connections")
    events = [e.data["attempt"] for e in src.daemon.qmp.poll_events() if e.name == "MIGRATION_RECONNECT"]
    t.check(events[0] == 1 and events == sorted(events) and events[-1] > 1, f"attempts are counted: {events}")
    check_arrived(t, src, dst)
    t.check(info["reconnects"] == 1, f"one was lost: {info}")


def test_zeros_and_holes(t):
    """Memory of which most was never touched, with zeros in between, arrives as it is; holes stay holes."""
    random = migdtest.seed()
    src, dst = t.pair(memory="512M", working_set="2M")
    start, length = 64 * MIB, 48 * MIB
    for page in range(start, start + length, 4096):
        kind = random.randrange(4)
        if kind:
            src.mem.map[page:page + 4096] = (b"\0" if kind == 1 else bytes([random.randrange(256)])) * 4096
    want = src.mem.map[start:start + length]
    through(t, src, dst, random_cuts(random, (MIB, 6 * MIB), (12 * MIB, 20 * MIB)))
    check_arrived(t, src, dst)
    t.check(dst.mem.map[start:start + length] == want, "what the guest did not touch is as it was")
    t.check(dst.allocated() < 128 * MIB, f"holes stayed holes: {dst.allocated()} bytes")


def test_with_xbzrle(t):
    """Differences to what the destination may not have got would make something else of it."""
    random = migdtest.seed()
    src, dst = t.pair(memory="48M", working_set="8M")
    for side in src, dst:
        side.command("migrate-set-capabilities", {"capabilities": [{"capability": "xbzrle", "state": True}]})
    through(t, src, dst, random_cuts(random, (12 * MIB, 14 * MIB), (18 * MIB, 19 * MIB), (21 * MIB, 22 * MIB)))
    check_arrived(t, src, dst)


def test_with_tls(t):
    random = migdtest.seed()
    src, dst = t.pair(memory="48M", working_set="16M")
    migd_tls.psk(t, src, dst)
    info, _ = through(t, src, dst, random_cuts(random, (MIB, 10 * MIB), (22 * MIB, 30 * MIB)), encrypted=True)
    t.check(info["reconnects"] == 2, f"over two more connections: {info}")
    check_arrived(t, src, dst)


migdtest.main()

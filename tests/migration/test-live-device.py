#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""A device with much state is sent while its guest runs and uses it; the guest finds every page on the other side."""

import migd_proxy
import migdtest
from migd_process import wait_until

VAULT = 4 << 20
PAGES = VAULT // 4096
ACK = {"capabilities": [{"capability": c, "state": True} for c in ("return-path", "switchover-ack")]}


def pair(t, dst_vault=f"{VAULT}", **options):
    src, dst = t.pair(payload="vault", extra=("--vault", f"{VAULT}"), dst_changes={"extra": ("--vault", dst_vault)}, **options)
    wait_until(lambda: src.mem.detail(0) >= 1, "the vault is full", timeout=60, alive=[src])
    return src, dst


def assert_vault_verified(t, vmm):
    """The guest got each page of the vault back, as it had put it there."""
    t.check(vmm.mem.detail(1) == PAGES, f"it uses all of it: {vmm.mem.describe()}")
    t.assert_memory_verified(vmm, rounds=PAGES + 1)


def sections(seen):
    """How often each section of the vault came."""
    return {kind: seen.count(f"{kind}-vault-memory") for kind in ("start", "part", "end")}


def through_proxy(t, src, dst, rewrite=None):
    """Migrate; the names of all messages, in order."""
    seen = []

    def note(direction, name, n, data):
        seen.append(name)
        return rewrite(direction, name, n, data) if rewrite else None

    port = int(t.listen(dst).rpartition(":")[2])
    with migd_proxy.Proxy(port, rewrite=note) as link:
        src.command("migrate", {"uri": link.uri})
        return t.wait_end(src), seen


def test_sent_while_the_guest_runs(t):
    src, dst = pair(t)
    info, seen = through_proxy(t, src, dst)
    t.check(info["status"] == "completed", f"it completes: {info}")
    t.check(info["ram"]["transferred"] > VAULT, f"the vault was sent: {info['ram']}")
    n = sections(seen)
    t.check(n["start"] == 1 and n["end"] == 1 and n["part"] > 0, f"a live section: {n}")
    last_part = max(i for i, name in enumerate(seen) if name == "part-vault-memory")
    t.check(last_part < seen.index("cmd-switchover-start") < seen.index("end-vault-memory"), "END comes with the switchover")
    assert_vault_verified(t, dst)
    t.assert_only_runs(dst, src)
    t.check("the guest moved" in src.log_text(), "cleanup said that the guest moved")


def test_many_passes(t):
    """So slow that the guest changes the vault again and again meanwhile."""
    src, dst = pair(t)
    t.make_slow(src, 4 << 20)
    t.start(src, dst)
    wait_until(lambda: src.migration().get("ram", {}).get("dirty-sync-count", 0) >= 4, "some passes", timeout=60,
               alive=[src.daemon])
    t.assert_runs(src)
    t.speed_up(src)
    t.check(t.wait_end(src)["status"] == "completed", "it completes")
    assert_vault_verified(t, dst)


def test_there_and_back(t):
    src, dst = pair(t)
    for _ in range(3):
        t.migrate(src, dst)
        assert_vault_verified(t, dst)
        src.wait_exit()
        src, dst = dst, t.incoming(src.daemon, t.options)


def test_an_empty_vault(t):
    src, dst = t.pair(extra=("--vault", f"{VAULT}"))
    t.migrate(src, dst)
    t.assert_only_runs(dst, src)


def test_pending_counts(t):
    """A limit that RAM alone would fit does not stop the guest while the vault's rest does not fit."""
    src, dst = pair(t)
    src.set(max_bandwidth=2 << 20, downtime_limit=1, avail_switchover_bandwidth=64 << 20)
    t.start(src, dst)
    t.wait_active(src)
    wait_until(lambda: src.migration().get("ram", {}).get("remaining", 1 << 40) <= VAULT + (1 << 20), "RAM is almost sent")
    t.check(src.migration()["status"] == "active", "the vault keeps it going")
    src.set(max_bandwidth=0, downtime_limit=1000)
    t.check(t.wait_end(src)["status"] == "completed", "it completes")
    assert_vault_verified(t, dst)


def test_cancelled_and_again(t):
    src, dst = pair(t)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    src.command("migrate_cancel")
    t.check(t.wait_end(src)["status"] == "cancelled", "cancelled")
    wait_until(lambda: "the guest stays" in src.log_text(), "cleanup said that the guest stays")
    t.assert_untouched(src)
    t.speed_up(src)
    dst = t.incoming(t.b, t.options)
    t.migrate(src, dst)
    assert_vault_verified(t, dst)


def test_destination_dies(t):
    src, dst = pair(t)
    t.make_slow(src)
    t.start(src, dst)
    t.wait_active(src)
    dst.kill()
    t.assert_failed(src)
    wait_until(lambda: "the guest stays" in src.log_text(), "cleanup said that the guest stays")
    assert_vault_verified(t, src)


def test_other_targets_are_refused(t):
    src, dst = t.pair(payload="vault", extra=("--vault", f"{VAULT}"), dst_changes={"extra": ()})
    t.start(src, dst)
    t.assert_failed(src, "vault-memory", "missing")
    t.assert_untouched(src)
    dst.kill()
    dst = t.incoming(t.b, t.options, extra=("--vault", f"{2 * VAULT}"))
    t.start(src, dst)
    t.assert_failed(src, "section 'vault-memory'", "chunk", "load", "offset")
    t.assert_untouched(src)


def test_ready_late(t):
    """With switchover-ack the guest is not stopped before the target's device is ready."""
    src, dst = pair(t, dst_vault=f"{VAULT},ready-after=40")
    for side in src, dst:
        side.command("migrate-set-capabilities", ACK)
    info, seen = through_proxy(t, src, dst)
    t.check(info["status"] == "completed", f"it completes: {info}")
    ack = seen.index("reply-switchover-ack")
    t.check(seen[:ack].count("live-chunk") >= 40, f"it came late: {seen[:ack].count('live-chunk')} chunks before it")
    t.check(ack < seen.index("cmd-switchover-start"), "the switchover waited for it")
    assert_vault_verified(t, dst)


# How many bytes a START's or PART's head has before its body: type, id (and name, instance, version).
PART_HEAD = 5
START_HEAD = 5 + 1 + len("vault-memory") + 8


def put(data, offset, value):
    return data[:offset] + value + data[offset + len(value):]


MUTATIONS = {
    "another format": ("start-vault-memory", lambda d: put(d, START_HEAD, b"\0\7"), "field 'format': 7"),
    "a newer version": ("start-vault-memory", lambda d: put(d, START_HEAD - 4, b"\0\0\0\7"), "field 'version': 7"),
    "a chunk too long": ("live-chunk", lambda d: put(d, PART_HEAD, b"\x7f\0\0\0"), "field 'chunk length'"),
    "a chunk of another vault": ("live-chunk", lambda d: put(d, PART_HEAD + 4, b"\0\0\0\1"), "field 'chunk' 0"),
    "a page beyond the end": ("live-chunk", lambda d: put(d, PART_HEAD + 8, b"\xff\0\0\0"), "field 'chunk' 0"),
    "a chunk cut short": ("live-chunk", lambda d: put(d, PART_HEAD, b"\0\0\0\6"), "vault-memory"),
    "no footer": ("part-vault-memory", lambda d: d[:-5] + b"\1\1\1\1\1", "footer"),
    "no end": ("end-vault-memory", lambda d: b"", "vault-memory"),
    "the start twice": ("start-vault-memory", lambda d: d + d, "starts twice"),
}


def test_mutated_sections(t):
    tiny = ("--vault", "16K")  # a chunk comes in one piece
    src, dst = t.pair(payload="vault", extra=tiny)
    wait_until(lambda: src.mem.detail(0) >= 1, "the vault is full", timeout=60, alive=[src])
    for name, (message, change, words) in MUTATIONS.items():
        done = []

        def rewrite(_direction, seen, _n, data, message=message, change=change, done=done):
            if done or seen != message:
                return None
            done.append(seen)
            return change(data)

        info, _ = through_proxy(t, src, dst, rewrite)
        t.check(done and info["status"] == "failed", f"{name}: it failed: {info}")
        text = info.get("error-desc", "")
        print(f"{name}: {text}", flush=True)
        t.check(words in text and "offset" in text, f"{name}: {text!r} does not say {words!r} and where")
        t.assert_only_runs(src, dst)
        dst.kill()
        dst = t.incoming(t.b, t.options)
    t.migrate(src, dst)
    t.assert_memory_verified(dst, rounds=8)


migdtest.main()

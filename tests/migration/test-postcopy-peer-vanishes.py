#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""The connections break just before each message of the switch to post-copy, and of what follows: exactly one side runs."""

import migdtest
from migd_postcopy import MEMORY, capabilities

FIRST = ("out", "cmd-switchover-start")


def migrate(t, src, dst, rule=None):
    """To post-copy, through a proxy that keeps the rule until it has cut once: the proxy, and the source's query-migrate."""
    for vmm in src, dst:
        capabilities(vmm, "postcopy-ram", "postcopy-preempt")
    link = t.proxy(int(t.listen(dst).rpartition(":")[2]))
    link.refuse_after_cut = False
    link.rule = rule and (lambda *message: None if link.was_cut.is_set() else rule(*message))
    t.make_slow(src)
    src.command("migrate", {"uri": link.uri})
    t.wait_active(src)
    src.command("migrate-start-postcopy")
    return link, t.wait_end(src)


def all_kinds(t, a, b):
    """Every (direction, message) from the switch on that there was not before, each once, in order."""
    src, dst = t.vmm(a, **MEMORY), t.incoming(b, MEMORY)
    t.assert_memory_verified(src)
    link, info = migrate(t, src, dst)
    t.check(info["status"] == "completed", f"nothing was broken, but: {info}")
    t.check(not [name for _, name in link.seen if name == "unparsed"],
            f"the stream is not understood by tests/lib/migd_stream.py after {link.seen}")
    dst.kill()
    first = link.seen.index(FIRST)
    return [kind for kind in dict.fromkeys(link.seen[first:]) if kind not in link.seen[:first]]


def test_each_boundary(t):
    a, b = t.daemon("a"), t.daemon("b")
    kinds = all_kinds(t, a, b)
    print("messages:", ", ".join(f"{d} {n}" for d, n in kinds))
    src = t.vmm(a, **MEMORY)
    t.assert_memory_verified(src)
    for n, kind in enumerate(kinds):
        dst = t.incoming(b, MEMORY, name=f"g{n}")
        _, info = migrate(t, src, dst, lambda d, name, count: "cut-before" if (d, name) == kind and count == 1 else None)
        print(f"before {kind[0]} {kind[1]}: {info['status']}: {info.get('error-desc')}", flush=True)
        if info["status"] == "completed":
            t.check(t.wait_end(dst)["status"] == "completed", f"the destination says {dst.migration()}")
            t.assert_memory_verified(dst)
            t.assert_only_runs(dst, src)
            src.wait_exit()
            src, a, b = dst, b, a
        else:
            t.check(info.get("error-desc"), f"it failed without a text: {info}")
            t.assert_only_runs(src, dst)
            dst.kill()


migdtest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""
The connection breaks just before, and just after, each kind of message in either direction, and there is to be no other one:
exactly one side runs.
"""

import migd_proxy
import migdtest
from migd_process import wait_until

OPTIONS = {"memory": "32M", "payload": "writer", "working_set": "1M"}


def attempt(t, src, dst, rule=None):
    """One migration; (query-migrate's result, messages seen)."""
    port = int(t.listen(dst).rpartition(":")[2])
    with migd_proxy.Proxy(port, rule=rule) as link:
        src.set(reconnect_timeout=0)
        src.command("migrate", {"uri": link.uri})

        def settled():
            info = src.migration()
            if info["status"] in migdtest.ENDED:
                return info
            if info.get("handover", {}).get("in-doubt"):
                link.heal()
            return None
        return wait_until(settled, "the migration settles", timeout=30), list(link.seen)


def all_kinds(t, a, b):
    """Every (direction, message) of a good migration, in order."""
    src, dst = t.vmm(a, **OPTIONS), t.incoming(b, OPTIONS)
    t.assert_runs(src)
    info, seen = attempt(t, src, dst)
    t.check(info["status"] == "completed", f"nothing was broken, but: {info}")
    t.check(("out", "unparsed") not in seen and ("back", "unparsed") not in seen,
            f"the stream is not understood by tests/lib/migd_stream.py after {seen}")
    dst.kill()
    return list(dict.fromkeys(seen))


def test_each_boundary(t):
    a, b = t.daemon("a"), t.daemon("b")
    kinds = all_kinds(t, a, b)
    print("messages:", ", ".join(f"{d} {n}" for d, n in kinds))
    src = t.vmm(a, **OPTIONS)
    t.assert_runs(src)
    tries = 0
    for kind in kinds:
        for action in "cut-before", "cut":
            tries += 1
            dst = t.incoming(b, OPTIONS, name=f"g{tries}")
            info, _ = attempt(t, src, dst, lambda d, n, count: action if (d, n) == kind and count == 1 else None)
            print(f"{action} {kind[0]} {kind[1]}: {info['status']}: {info.get('error-desc')}", flush=True)
            if info["status"] == "completed":
                t.assert_only_runs(dst, src)
                src.wait_exit()
                src, a, b = dst, b, a
            else:
                t.check(info.get("error-desc"), f"it failed without a text: {info}")
                t.assert_only_runs(src, dst)
                dst.kill()


migdtest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""
The connection breaks after N bytes, for 100 seeded N in either direction, and there is to be no other one: exactly one side runs.
"""

import migd_proxy
import migdtest
from migd_process import wait_until

OPTIONS = {"memory": "32M", "payload": "writer", "working_set": "1M"}


class Link:
    """Two daemons, a guest on one of them, and a fresh destination for each try."""

    def __init__(self, t):
        self.t = t
        self.a, self.b = t.daemon("a"), t.daemon("b")
        self.src = t.vmm(self.a, **OPTIONS)
        t.assert_runs(self.src)
        self.tries = 0

    def attempt(self, **proxy):
        self.tries += 1
        dst = self.t.incoming(self.b, OPTIONS, name=f"g{self.tries}")
        port = int(self.t.listen(dst).rpartition(":")[2])
        link = migd_proxy.Proxy(port, **proxy)
        with link:
            self.src.set(reconnect_timeout=0)
            self.src.command("migrate", {"uri": link.uri})
            ended = wait_until(lambda: self.settled(link, dst), "the migration settles", timeout=30)
        self.judge(ended, dst, link)
        return link

    def settled(self, link, dst):
        info = self.src.migration()
        if info["status"] in migdtest.ENDED:
            return info
        if info.get("handover", {}).get("in-doubt"):
            # Broken between RELEASE and ACTIVE: nobody may guess. Let the two sides talk again.
            link.heal()
        return None

    def judge(self, info, dst, link):
        if info["status"] == "completed":
            self.t.assert_runs(dst)
            self.t.assert_stopped(self.src, 0.02)
            # The next try starts from where the guest is now.
            self.src.wait_exit()
            self.src, self.a, self.b = dst, self.b, self.a
        else:
            self.t.check(info.get("error-desc"), f"it failed without a text: {info}")
            self.t.assert_runs(self.src)
            self.t.assert_stopped(dst, 0.02)
            dst.kill()


def lengths(t, link):
    """Bytes of a whole migration, each way."""
    whole = link.attempt()
    return whole.passed["out"], whole.passed["back"]


def test_source_to_destination(t):
    random = migdtest.seed()
    link = Link(t)
    out, _ = lengths(t, link)
    for n in sorted(random.sample(range(1, 2000), 20) + random.sample(range(2000, out), 40)):
        link.attempt(cut_at=("out", n))


def test_destination_to_source(t):
    random = migdtest.seed()
    link = Link(t)
    _, back = lengths(t, link)
    for n in sorted(random.choices(range(1, back + 1), k=40)):
        link.attempt(cut_at=("back", n))


migdtest.main()

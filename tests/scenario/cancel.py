#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""migrate_cancel on the source, in every state a migration can be in.

Where the originals cancel before the destination can have noticed anything, these hold the source in `setup` until it has
(its connection is accepted, the answer to its description is held back): a destination of migd's that nobody has reached
yet goes on listening.
"""

import threading

from migd_process import wait_until
from migd_scenario import PATIENCE, main, scenario


def start(s):
    s.start()
    for side in (s.src, s.dst):
        s.capabilities(side, "pause-before-switchover", "multifd")
    s.fast(s.src)


def go(s):
    s.go(s.listen(s.unix_uri(), exit_on_error=False))


def go_and_stay_in_setup(s):
    """Returns what lets the migration go on; the destination is active by then, the source is not."""
    uri = s.listen("tcp:127.0.0.1:0", exit_on_error=False)
    release = threading.Event()

    def hold(direction, name, _count):
        if name == "reply-config-ok":
            release.wait(PATIENCE)
    s.cleanup.callback(release.set)
    s.go(s.proxy(int(uri.rpartition(":")[2]), rule=hold).uri)
    s.wait_seen(s.src, "MIGRATION", status="setup")
    s.wait_seen(s.dst, "MIGRATION", status="active")
    s.check(s.src.status() == "setup", f"the source is held in setup, not in {s.src.status()}")
    return release


def cancel(s):
    s.src.command("migrate_cancel")


def check_cancelled(s):
    s.wait_seen(s.src, "MIGRATION", status="cancelling")
    s.wait_status(s.src, "cancelled")
    s.wait_seen(s.src, "MIGRATION", status="cancelled")
    wait_until(lambda: s.dst.status() == "failed", "the destination's migration fails", PATIENCE, alive=[s.b])
    for side in (s.src, s.dst):
        s.check("completed" not in s.states(side), f"{side.label} went through {s.states(side)}")
    s.assert_untouched(s.src)


@scenario("cancel/src/after/none")
def cancel_after_none(s):
    s.start()
    s.dst.command("migrate_cancel")
    s.src.command("migrate_cancel")
    s.fast(s.src)
    s.go(s.listen(s.unix_uri()))
    s.finish()


@scenario("cancel/src/after/setup")
def cancel_after_setup(s):
    start(s)
    go_and_stay_in_setup(s)
    cancel(s)
    check_cancelled(s)


@scenario("cancel/src/after/active", status="active")
@scenario("cancel/src/after/pre-switchover", status="pre-switchover")
def cancel_after(s, status):
    start(s)
    go(s)
    s.wait_seen(s.src, "MIGRATION", status=status)
    cancel(s)
    check_cancelled(s)


@scenario("cancel/src/after/cancelling", status="cancelling")
@scenario("cancel/src/after/cancelled", status="cancelled")
def cancel_again(s, status):
    start(s)
    go_and_stay_in_setup(s)
    cancel(s)
    s.wait_seen(s.src, "MIGRATION", status=status)
    cancel(s)
    check_cancelled(s)


@scenario("cancel/src/after/completed")
def cancel_after_completed(s):
    s.start()
    s.fast(s.src)
    s.go(s.listen(s.unix_uri(), exit_on_error=False))
    s.wait_seen(s.src, "MIGRATION", status="completed")
    cancel(s)
    for side in (s.src, s.dst):
        s.wait_status(side, "completed")
    s.finish()


@scenario("cancel/src/after/failed")
def cancel_after_failed(s):
    s.start()
    s.go(s.unix_uri("nobody"))
    s.wait_seen(s.src, "MIGRATION", status="failed")
    s.check("active" not in s.states(s.src), f"the source went through {s.states(s.src)}")
    cancel(s)
    s.check(s.src.status() == "failed", f"the status stays failed, and is {s.src.status()}")
    s.assert_untouched(s.src)


main()

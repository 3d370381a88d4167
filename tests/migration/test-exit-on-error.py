#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""exit-on-error: a destination whose migration failed is dropped, and its VMM ends with status 1; or it can try again."""

import migdtest

EVENTS = {"capabilities": [{"capability": "events", "state": True}]}


def unfit_pair(t):
    """The destination's guest is not like the source's: the migration fails before any of it arrived."""
    src, dst = t.pair(dst_changes={"cpus": 2})
    dst.command("migrate-set-capabilities", EVENTS)
    return src, dst


def test_dropped(t):
    src, dst = unfit_pair(t)
    uri = t.listen(dst, exit_on_error=True)
    src.command("migrate", {"uri": uri})
    t.assert_failed(src)
    t.assert_untouched(src)
    t.check(dst.wait_exit() == 1, f"the VMM ended with status {dst.proc.returncode}")
    dst.daemon.qmp.wait_event("MIGRATION", status="failed")
    dst.daemon.qmp.wait_event("GUEST_DETACHED", guest=dst.name)
    t.check(dst.status() == "failed", "the outcome can still be asked for")


def test_dropped_while_it_arrives(t):
    src, dst = t.pair(working_set="16M")
    t.make_slow(src)
    src.command("migrate", {"uri": t.listen(dst, exit_on_error=True)})
    t.wait_active(src)
    src.command("migrate_cancel")
    t.check(dst.wait_exit() == 1, f"the VMM ended with status {dst.proc.returncode}")
    t.assert_untouched(src)


def test_kept(t):
    src, dst = unfit_pair(t)
    src.command("migrate", {"uri": t.listen(dst, exit_on_error=False)})
    t.assert_failed(src)
    t.assert_failed(dst, "vCPU")
    t.check(dst.running() and dst.run_state() == "inmigrate", f"it waits on: {dst.run_state()}")
    # Nothing of a guest had arrived: it can be armed again, and fails again.
    src.command("migrate", {"uri": t.listen(dst, exit_on_error=True)})
    t.check(dst.wait_exit() == 1, f"the VMM ended with status {dst.proc.returncode}")
    t.assert_untouched(src)


migdtest.main()

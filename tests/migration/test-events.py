#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""Events of a migration: which, in which order, and only for those who asked for them."""

import migdtest

ON = {"capabilities": [{"capability": "events", "state": True}]}


def names(daemon):
    daemon.qmp.poll_events(0.3)
    return [e.data.get("status", e.name) for e in daemon.qmp.events if e.name in ("MIGRATION", "STOP", "RESUME")]


def test_in_order(t):
    src, dst = t.pair(working_set="4M")
    src.command("migrate-set-capabilities", ON)
    dst.command("migrate-set-capabilities", ON)
    t.migrate(src, dst)
    source, target = names(src.daemon), names(dst.daemon)
    t.check(source == ["setup", "active", "STOP", "device", "completed"] or
            source == ["setup", "active", "device", "STOP", "completed"], f"the source said {source}")
    t.check(target == ["setup", "active", "RESUME", "completed"], f"the destination said {target}")
    passes = [e.data["pass"] for e in src.daemon.qmp.events if e.name == "MIGRATION_PASS"]
    t.check(passes and passes == list(range(1, len(passes) + 1)), f"the passes are counted: {passes}")
    states = [e.data["state"] for e in src.daemon.qmp.events if e.name == "MIGRATION_HANDOVER"]
    t.check(states[-2:] == ["released", "retired"], f"the handover's steps: {states}")


def test_off_by_default(t):
    src, dst = t.pair()
    src.daemon.qmp.poll_events()
    t.migrate(src, dst)
    source = names(src.daemon)
    t.check("setup" not in source and "completed" not in source, f"no MIGRATION without the capability: {source}")


def test_stop_and_cont(t):
    src, _ = t.pair()
    src.command("stop")
    src.command("stop")
    src.command("cont")
    src.command("cont")
    t.check(names(src.daemon) == ["STOP", "RESUME"], f"one event a change: {names(src.daemon)}")


def test_attach_and_detach(t):
    daemon = t.daemon("a")
    daemon.qmp.skip_events()
    vmm = t.vmm(daemon, name="x", payload="idle")
    daemon.qmp.wait_event("GUEST_ATTACHED", guest="x")
    vmm.kill()
    daemon.qmp.wait_event("GUEST_DETACHED", guest="x")


migdtest.main()
